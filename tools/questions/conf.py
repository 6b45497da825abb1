"""HELM's conf files: ``entries: [{description: "mmlu:subject=law,model=x", priority: 1}]``.

HELM reads them with a HOCON library that lives in its own venv. Of HOCON they use little: comments
from ``#`` or ``//``, commas that may be left out, ``:`` or ``=``, braces around the whole that may
be left out. This reads that, and names the line of what it cannot read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe.faults import nearest
from tools.recipe.run_entries import without_model, wrong

_TOKEN = re.compile(
    r"""(?P<space>\s+|(?:\#|//)[^\n]*)
      | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<mark>[{}\[\],:=])
      | (?P<word>(?:(?!//)[^\s"{}\[\],:=\#])+)
      | (?P<odd>.)""",
    re.VERBOSE,
)
_KEYS = ("description", "priority", "groups")


@dataclass(frozen=True)
class Entry:
    """What HELM is to run.

    Attributes:
        description: HELM's run entry.
        where: where it stands, for messages.
        priority: HELM's; it runs all, whatever it is.
        groups: names that HELM's tables group its run specs by, besides its own.
    """

    description: str
    where: str
    priority: int = 1
    groups: tuple[str, ...] = ()


@dataclass
class _Value:
    """A value of the file, and the line it begins in."""

    value: Any
    line: int


@dataclass
class _Text:
    """A conf file, word by word.

    Attributes:
        path: the file, for messages.
        words: kind, text and line of each word, last the end.
        at: index of the word to be read next.
    """

    path: Path
    words: list[tuple[str, str, int]] = field(default_factory=list)
    at: int = 0

    def next(self) -> tuple[str, str, int]:
        """The next word, which is not yet taken."""
        return self.words[self.at]

    def takes(self, *marks: str) -> bool:
        """Take the next word if it is one of these marks."""
        kind, text, _ = self.next()
        found = kind == "mark" and text in marks
        self.at += found
        return found

    def wanted(self, what: str) -> UserError:
        """What to raise where something else stands."""
        kind, text, line = self.next()
        found = "the end of the file" if kind == "end" else repr(text)
        return UserError(f"{self.path}:{line}: expected {what}, found {found}")


def read(path: Path) -> list[Entry]:
    """The entries of a conf file, as they stand there.

    Args:
        path: the file.

    Returns:
        Entries whose ``description`` is the file's own, model and all.

    Raises:
        UserError: there is no such file, or it is not of that form; every fault of every entry.
    """
    if not path.is_file():
        near = nearest(path.stem, [file.stem for file in path.parent.glob("*.conf")])
        raise UserError(f"eval.tier: {path}: no such file{near}")
    root = _root(_text(path)).value
    listed = root.get("entries")
    if listed is None or not isinstance(listed.value, list):
        raise UserError(f"{path}: holds no `entries: [...]`; is it a HELM conf file?")
    faults = [fault for one in listed.value for fault in _faults(one, path)]
    if faults:
        raise UserError(faults)
    return [_entry(one, path) for one in listed.value]


def render(entries: list[Entry]) -> str:
    """A conf file of these entries; any JSON text is HOCON, too."""
    import json

    lines = []
    for one in entries:
        groups = f", groups: {json.dumps(list(one.groups))}" if one.groups else ""
        text = f"description: {json.dumps(one.description)}, priority: {one.priority}"
        lines.append(f"  {{{text}{groups}}}\n")
    return f"entries: [\n{''.join(lines)}]\n"


def _text(path: Path) -> _Text:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    return _Text(path, list(_words(text, path)))


def _words(text: str, path: Path) -> Iterator[tuple[str, str, int]]:
    line = 1
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind == "odd":  # only a quote that nothing closes is left for it
            raise UserError(f"{path}:{line}: a text that does not end in its line")
        if kind != "space":
            yield kind, found[0], line
        line += found[0].count("\n")
    yield "end", "", line


def _root(text: _Text) -> _Value:
    """The whole file, with or without braces."""
    braces = text.takes("{")
    found = _members(text, "}" if braces else "")
    if text.next()[0] != "end":
        raise text.wanted("the end of the file")
    return found


def _members(text: _Text, end: str) -> _Value:
    """``key: value`` pairs up to the mark ``end``, or to the end of the file when it is empty."""
    line, found = text.next()[2], {}
    while not (text.takes(end) if end else text.next()[0] == "end"):
        kind, word, _ = text.next()
        if kind not in ("text", "word"):
            raise text.wanted("a key" + (f" or {end!r}" if end else ""))
        text.at += 1
        # HOCON lets the colon be left out before a brace.
        if not text.takes(":", "=") and text.next()[1] not in ("{", "["):
            raise text.wanted(f"':' after {word}")
        found[_plain(kind, word)] = _value(text)
        text.takes(",")
    return _Value(found, line)


def _value(text: _Text) -> _Value:
    kind, word, line = text.next()
    if text.takes("{"):
        return _Value(_members(text, "}").value, line)
    if text.takes("["):
        items = []
        while not text.takes("]"):
            items.append(_value(text))
            text.takes(",")
        return _Value(items, line)
    if kind not in ("text", "word"):
        raise text.wanted("a value")
    text.at += 1
    return _Value(_plain(kind, word), line)


def _plain(kind: str, word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if kind == "text" else word


def _faults(one: _Value, path: Path) -> Iterator[str]:
    """What is wrong with an entry, each fault with its line."""
    if not isinstance(one.value, dict):
        yield f'{path}:{one.line}: an entry is {{description: "...", priority: 1}}'
        return
    for key, value in one.value.items():
        if key not in _KEYS:
            yield f"{path}:{value.line}: unknown key {key}{nearest(key, _KEYS)}"
    text = one.value.get("description")
    if text is None or not isinstance(text.value, str):
        yield f"{path}:{one.line}: an entry without a description"
    elif found := wrong(without_model(text.value)):
        yield f"{path}:{text.line}: {'; '.join(found)}"
    priority = one.value.get("priority")
    if priority and not (isinstance(priority.value, str) and priority.value.isdigit()):
        yield f"{path}:{priority.line}: priority must be a whole number"
    groups = one.value.get("groups")
    if groups and not isinstance(groups.value, list):
        yield f"{path}:{groups.line}: groups must be a list of names"


def _entry(one: _Value, path: Path) -> Entry:
    plain = {key: value.value for key, value in one.value.items()}
    return Entry(
        plain["description"],
        f"{path}:{one.line}",
        int(plain.get("priority", 1)),
        tuple(str(group.value) for group in plain.get("groups", [])),
    )
