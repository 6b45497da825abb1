"""Where things stand in a YAML text: the line of every key and item, and the keys written twice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# The parser in C is ten times faster; it is missing where PyYAML was built without libyaml.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}


class _Loader(_Base):
    """As OmegaConf 2.4 reads: 1e-4 is a number (to PyYAML a text), a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, regexp) for tag, regexp in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"""^(?:
         [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
        |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)

KeyPath = tuple[str | int, ...]
DEEPEST = 40  # levels; a recipe has 6, and Python's own limit is near at 100
LARGEST = 10_000  # values; a recipe has a few hundred, and OmegaConf reads no more aliases


@dataclass(frozen=True)
class Entry:
    """A key or list item.

    Attributes:
        path: its keys, outermost first.
        line: where it stands, from 1.
        last_line: where its value ends, from 1.
        leaf: whether its value holds no others.
    """

    path: KeyPath
    line: int
    last_line: int
    leaf: bool


def full_key(path: KeyPath) -> str:
    """``("train", "lr_groups", 0, "name")`` as a user writes it: ``train.lr_groups[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def compose(text: str) -> yaml.Node | None:
    """The node tree of a text, None when it is empty.

    Raises:
        yaml.YAMLError: not YAML, or more of it than a parser written in C survives.
    """
    guard(text)
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def is_plain(node: yaml.Node) -> bool:
    """Whether a tree holds nothing but what JSON has: texts for keys, no reference (``${}``)."""
    if node.tag not in _PLAIN:
        return False
    if isinstance(node, yaml.MappingNode):
        keys = (key.tag == f"{_TAG}str" for key, _ in node.value)
        return all(keys) and all(is_plain(value) for _, value in node.value)
    if isinstance(node, yaml.SequenceNode):
        return all(map(is_plain, node.value))
    return "${" not in node.value


def construct(node: yaml.Node) -> Any:
    """The values of a node tree.

    Raises:
        yaml.YAMLError: a tag promises what the text is not.
        ValueError: the same, told by Python.
    """
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def read(path: Path) -> Any:
    """The values of a file of ours, which is known to be right."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def guard(text: str) -> None:
    """Keep a text from the parser that could nest without end: libyaml would crash Python.

    Raises:
        yaml.YAMLError: it holds more of what nests than any recipe.
    """
    # Each level of nesting costs one of these characters, in whatever style.
    if sum(map(text.count, "[{-?:")) > LARGEST:
        raise yaml.YAMLError(f"more than {LARGEST} brackets, dashes and colons")


def entries(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[Entry]:
    """Every key and list item under a node, parents before their children."""
    for part, start, value in _children(node):
        below = (*path, part)
        leaf = not any(_children(value))
        yield Entry(below, start.start_mark.line + 1, value.end_mark.line + 1, leaf)
        yield from entries(value, below)


def _children(node: yaml.Node | None) -> Iterator[tuple[str | int, yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield _name(key), key, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, value


def _name(key: yaml.Node) -> str:
    """A key's text; of a list or mapping, which may be a key too, where it begins."""
    if isinstance(key, yaml.ScalarNode):
        return str(key.value)
    return f"? ({key.start_mark.line + 1}:{key.start_mark.column + 1})"


def excess(node: yaml.Node) -> str:
    """Why a tree is more than a recipe can be, empty when it is not.

    An alias counts whenever it is used, so one that holds itself has no end.
    """
    todo, seen = [(node, 1)], 0
    while todo:
        part, depth = todo.pop()
        seen += 1
        if depth > DEEPEST:
            return f"nests deeper than {DEEPEST} levels, or an alias holds itself; flatten it"
        if seen > LARGEST:
            return f"holds more than {LARGEST} values, aliases counted wherever used; shorten it"
        todo += [(below, depth + 1) for _, _, below in _children(part)]
    return ""


def drop_repeats(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int, int]]:
    """Take keys that come again out of the tree; yield each path, its line and the first one's."""
    if isinstance(node, yaml.MappingNode):
        first: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = _name(key)
            if name in first:
                earlier = first[name][0].start_mark.line + 1
                yield (*path, name), key.start_mark.line + 1, earlier
            first.setdefault(name, (key, value))
        node.value = list(first.values())
    for part, _, value in _children(node):
        yield from drop_repeats(value, (*path, part))
