"""Recipe files into one tree: ``defaults`` lists, later wins, then the command line's overrides."""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tools.recipe import yaml_map
from tools.recipe.faults import nearest
from tools.recipe.models import Part, one_model, said
from tools.recipe.odd_text import first_line, nearly, odd_text, omegaconf, quotes, remedy
from tools.recipe.yaml_map import KeyPath, full_key

if TYPE_CHECKING:
    from omegaconf import DictConfig

RECIPES = Path(__file__).parents[2] / "recipes"
CATALOGUE = RECIPES / "data" / "catalogue"  # layers that hold facts, too
COMMAND_LINE = "--set"
_LARGEST = 2**63  # of a number; no setting needs more


class Composition:
    """A recipe's files merged in order, and where each value came from.

    Args:
        recipe: the file that is asked for.
        layers: names of files that are laid over it.

    Attributes:
        origins: by full key, ``file:line`` of the text that set it last.
        root: the folder that ``defaults`` name files of.
        files: what was merged, first to last; each file once, where it is first named.
        faults: whatever did not work, in the user's words.
        incomplete: whether a file is missing from ``config``, so that keys may be, too.
        unresolved: paths of interpolations that failed.
        replaced: which model was replaced by which; empty where one was named only.
    """

    def __init__(self, recipe: Path, layers: Sequence[str] = ()) -> None:
        self._parts: list[Part] = []  # the files so far
        self._includers: dict[Path, set[Path]] = {}
        self.origins: dict[str, str] = {}
        self.files: list[Path] = []
        self.faults: list[str] = []
        self.incomplete = False
        self.unresolved: set[KeyPath] = set()
        self.replaced = ""
        self._recipe = recipe
        self.root = _root(recipe)
        if _is_file(recipe):
            self._add(recipe, ())
            for layer in layers:
                self._include(layer, "sweep.axes.layers", recipe, ())
        else:
            self._broken(
                f"{shown(recipe)}: no such recipe{_like(recipe.stem, recipe.parent, '*.yaml')}"
            )
        self._tree = self._together()
        # Without references and overrides it is never needed, and takes long to import.
        texts = (leaf for _, leaf in leaves(self._tree) if isinstance(leaf, str))
        self._by_omegaconf = any("${" in text for text in texts)

    @functools.cached_property
    def config(self) -> "DictConfig":
        """The merged tree, references unresolved: for these, and for overrides."""
        self._by_omegaconf = True
        made: DictConfig = omegaconf().create(self._tree)  # once for all files: it is slow
        return made

    def _unresolved(self) -> dict[str, Any]:
        if not self._by_omegaconf:
            return self._tree
        plain: dict[str, Any] = omegaconf().to_container(self.config)
        return plain

    def _together(self) -> dict[str, Any]:
        """All files as one tree, what they say of a model that a later one replaces left out."""
        parts = [
            replace(part, includers=frozenset(self._includers.get(part.path.resolve(), ())))
            for part in self._parts
        ]
        parts, self.replaced = one_model(parts)
        self.files = [part.path for part in parts]
        tree: dict[str, Any] = {}
        self.origins = {}
        for part in parts:
            self.origins |= part.lines
            tree = _merged(tree, part.values)
        tree.pop("defaults", None)
        return tree

    def origin(self, path: KeyPath) -> str:
        """``file:line`` of a key, or of the nearest section around it."""
        for length in range(len(path), 0, -1):
            if found := self.origins.get(full_key(path[:length])):
                return found
        return shown(self._recipe)

    def _broken(self, text: str) -> None:
        self.faults.append(text)
        self.incomplete = True

    def _add(self, path: Path, parents: tuple[Path, ...]) -> None:
        """Merge what a file includes, then the file itself."""
        text = self._text(path)
        if text is None:
            return
        try:
            node = yaml_map.compose(text)
        # RecursionError: from the parser in Python, where PyYAML was built without libyaml.
        except (yaml.YAMLError, RecursionError) as error:
            self._broken(f"{_place(path, error)}; {remedy(text, error)}")
            self._include_all(_defaults_alone(text), path, parents)
            return
        if why := self._misfit(path, node):
            self._broken(f"{shown(path)}:1: {why}")
            return
        repeats = list(yaml_map.drop_repeats(node))
        for keys, line, first in repeats:
            key = full_key(keys)
            self.faults.append(
                f"{shown(path)}:{line}: {key}: again, first in line {first}; keep one"
            )
        self._include_all(node, path, parents)
        # OmegaConf's own loader stops at a key that comes twice, so it gets the mended tree.
        self._merge(path, yaml.serialize(node) if repeats and node else text, node)

    def _misfit(self, path: Path, node: yaml.Node | None) -> str:
        """Why a file cannot be a part of a recipe, though it is YAML."""
        if node is None:  # a layer may be empty, the recipe itself may not
            return "empty; begin it with, say, `defaults: [cpu]`" if path == self._recipe else ""
        if not isinstance(node, yaml.MappingNode):
            return "not a mapping; a recipe is made of `key: value`"
        return yaml_map.excess(node)

    def _text(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            remedy = "save it as UTF-8, or mend its rights"
            self._broken(f"{shown(path)}: cannot be read as UTF-8 text ({error}); {remedy}")
            return None

    def _include_all(self, node: yaml.Node | None, path: Path, parents: tuple[Path, ...]) -> None:
        for item in _includes(node):
            where = f"{shown(path)}:{item.start_mark.line + 1}: defaults"
            if isinstance(item, yaml.ScalarNode):
                self._include(item.value, where, path, parents)
            else:
                self._broken(f"{where}: must be a list of names such as hardware/4090")

    def _include(self, entry: str, where: str, path: Path, parents: tuple[Path, ...]) -> None:
        folders = (self.root, path.parent)
        candidates = [folder / f"{entry}.yaml" for folder in folders]
        found = next((file for file in candidates if _is_file(file)), None)
        if found is None:
            near = _like(entry, self.root, "**/*.yaml")
            self._broken(f"{where}: {shown(candidates[0])}: no such file{near}")
        elif found.resolve() in {parent.resolve() for parent in (*parents, path)}:
            chain = " -> ".join(shown(file) for file in (*parents, path, found))
            self._broken(f"{where}: files that include one another: {chain}; drop one")
        else:
            self._includers.setdefault(found.resolve(), set()).add(path)
            if found.resolve() not in {file.resolve() for file in self.files}:
                self._add(found, (*parents, path))

    def _merge(self, path: Path, text: str, node: yaml.Node | None) -> None:
        try:
            values = _values(text, node) if node is not None else {}
        except odd_text() as error:
            self._broken(
                f"{_place(path, error, node)}; write a plain text, number, list or mapping"
            )
            return
        facts = {folder.resolve() for folder in (CATALOGUE, self.root / "data" / "catalogue")}
        if isinstance(values, dict) and path.resolve().parent in facts:
            values.pop("catalogue", None)  # facts for `make check`, no part of a recipe
        self.files.append(path)
        where = shown(path)
        lines = {key: f"{where}:{line}" for key, line in _lines(node).items()}
        self.origins |= lines  # for what is told meanwhile
        named = self._named(values)
        if isinstance(named, dict):
            self._parts.append(Part(path, named, lines, frozenset()))

    def _named(self, values: Any, path: KeyPath = ()) -> Any:
        """Values read from YAML, every key a text; one that is none is a fault."""
        if isinstance(values, list):
            return [self._named(value, (*path, index)) for index, value in enumerate(values)]
        if not isinstance(values, dict):
            return values
        for key in values:
            if not isinstance(key, str):
                where, wrong = self.origin((*path, str(key))), full_key((*path, str(key)))
                self.faults.append(f"{where}: {wrong}: a key is a text; {quotes(key)}")
        return {str(key): self._named(value, (*path, str(key))) for key, value in values.items()}

    def override(self, text: str) -> None:
        """Apply ``key=value`` or ``~key`` words, parted by spaces."""
        for word in words(text):
            if word.startswith("~"):
                self._remove(word[1:])
            elif "=" in word.lstrip("="):  # a word that begins with = names no key
                self._set(*word.split("=", 1))
            else:
                self._wrong(f"{word!r}: write key=value, or ~key to remove a key")

    def _wrong(self, text: str) -> None:
        self.faults.append(f"{COMMAND_LINE}: {text}")

    def _set(self, key: str, text: str) -> None:
        if re.match(r"defaults\b", key):
            self._wrong(f"{key}: only a file can include others; write one, with its own defaults")
            return
        # Sections that come to be on the way to the key have no other origin.
        made = [part for part in _around(key) if not omegaconf().is_config(self._at(part))]
        try:
            yaml_map.guard(text)
            # Parsed by OmegaConf, so that a value means here what it means in a file.
            parsed = omegaconf().from_dotlist([f"value={text}"])
            value = omegaconf().to_container(parsed)["value"]
            self._replace_model(key, value)
            below = [full_key((key, *path)) for path, _ in leaves(value)]
            self.origins |= dict.fromkeys([*made, key, *below], COMMAND_LINE)
            omegaconf().update(self.config, key, self._named(value, (key,)))
        except odd_text() as error:
            self._wrong(f"{key}={text}: {first_line(error)}; quote the value, or look at the key")

    def _replace_model(self, key: str, value: Any) -> None:
        """Where another model is set, forget what the files say of theirs."""
        new = value.get("id") if key == "model" and isinstance(value, dict) else value
        old = self._at("model.id")
        if key not in ("model", "model.id") or not isinstance(new, str) or new in ("", old):
            return
        if not isinstance(old, str):
            return
        self.replaced = said(new, old, self.origin(("model", "id")))
        section = self.config["model"]
        for name in [str(name) for name in section]:
            if self.origins.get(f"model.{name}") != COMMAND_LINE:
                del section[name]
        self.origins = {
            name: where
            for name, where in self.origins.items()
            if where == COMMAND_LINE or not name.startswith("model.")
        }

    def _at(self, key: str) -> Any:
        try:
            return omegaconf().select(self.config, key)
        except odd_text():
            return None

    def _remove(self, key: str) -> None:
        parent, _, last = key.rpartition(".")
        section = self._at(parent) if parent else self.config
        if not omegaconf().is_dict(section) or last not in section:
            self._wrong(f"~{key}: the recipe has no such key{nearest(key, self.origins)}")
            return
        del section[last]

    def resolve(self) -> dict[str, Any]:
        """The merged tree as plain values; one that is none is a fault, and None."""
        for path, value in leaves(self._unresolved()):
            if why := self._no_value(path, value):
                self.faults.append(f"{self.origin(path)}: {full_key(path)}: {why}")
                self.unresolved.add(path)
        # Taken out first: resolving the whole would stop at them.
        for path in self.unresolved:
            self._parent(path)[path[-1]] = None
        if not self._by_omegaconf:
            return self._tree
        resolved: dict[str, Any] = omegaconf().to_container(self.config, resolve=True)
        return resolved

    def _no_value(self, path: KeyPath, value: Any) -> str:
        """Why a value is none: a number out of bounds, a reference to nothing or to itself."""
        # Written so that it also holds for nan, of which every comparison is false.
        if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
            return f"must be a number between -2^63 and 2^63{nearly(value)}"
        if not (isinstance(value, str) and "${" in value):
            return ""
        try:
            found = self._parent(path)[path[-1]]
            if omegaconf().is_config(found):
                omegaconf().to_container(found, resolve=True)  # one that holds itself has no end
        except odd_text() as error:
            return f"{value!r}: {first_line(error)}; name a key there is"
        return ""

    def _parent(self, path: KeyPath) -> Any:
        node: Any = self.config if self._by_omegaconf else self._tree
        for part in path[:-1]:
            node = node[part]
        return node


def shown(path: Path) -> str:
    """A path as a user would type it: relative where it lies below the current folder."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def words(text: str) -> list[str]:
    """Cut at spaces outside quotes and brackets, as Make's ``SET="a=1 b=[1, 2]"`` needs."""
    found, quote, depth = [""], "", 0
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        else:
            depth += (char in "[{(") - (char in "]})")
        # Below 0 after a stray closing bracket, which must not glue the words behind it.
        if char.isspace() and not quote and depth <= 0:
            found.append("")
        else:
            found[-1] += char
    return [word for word in found if word]


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that holds no others, with its path; empty lists and mappings count."""
    if isinstance(value, dict) and value:
        children: Iterator[tuple[Any, Any]] = iter(value.items())
    elif isinstance(value, list) and value:
        children = iter(enumerate(value))
    else:
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, (*path, key if isinstance(value, list) else str(key)))


def _values(text: str, node: yaml.Node) -> Any:
    """What a file says; what is not plain by OmegaConf, which takes ten times as long."""
    if yaml_map.is_plain(node):
        return yaml_map.construct(node)
    return omegaconf().to_container(omegaconf().create(text))


def _root(recipe: Path) -> Path:
    """The recipes folder: the nearest one around the file with a base.yaml, else our own."""
    folders = [folder for folder in recipe.absolute().parents if (folder / "base.yaml").is_file()]
    return folders[0] if folders else RECIPES


def _defaults_alone(text: str) -> yaml.Node | None:
    """The ``defaults`` list of a text that is no YAML elsewhere: its files may have faults, too."""
    found = re.search(r"^defaults:.*(?:\n[ -].*)*", text, re.MULTILINE)
    try:
        # Empty lines above, so that faults name the lines of the file.
        above = "\n" * text[: found.start()].count("\n") if found else ""
        return yaml_map.compose(above + found.group()) if found else None
    except yaml.YAMLError:
        return None


def _includes(node: yaml.Node | None) -> list[yaml.Node]:
    """The items of the ``defaults`` list; what stands there instead of a list counts as one."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if key.value == "defaults":
            listed = isinstance(value, yaml.SequenceNode)
            return list(value.value) if listed else [yaml.MappingNode("", [], value.start_mark)]
    return []


def _merged(left: Any, right: Any) -> Any:
    """As OmegaConf merges, but a list over a mapping is no error: the schema tells it better."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return right
    return {**left, **{key: _merged(left.get(key), value) for key, value in right.items()}}


def _around(key: str) -> list[str]:
    """The sections around a key, outermost first: a.b.c is in a and a.b."""
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _like(wanted: str, root: Path, pattern: str) -> str:
    files = [file.relative_to(root).with_suffix("").as_posix() for file in root.glob(pattern)]
    return nearest(wanted, files)


def _lines(node: yaml.Node | None) -> dict[str, int]:
    return {full_key(entry.path): entry.line for entry in yaml_map.entries(node)}


def _place(path: Path, error: Exception, node: yaml.Node | None = None) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or first_line(error)
    key = getattr(error, "full_key", None) or ""  # OmegaConf's
    line = mark.line + 1 if mark else _lines(node).get(key)
    return ": ".join(
        [f"{shown(path)}:{line}" if line else shown(path), *filter(None, [key]), reason]
    )
