"""Where things stand in a YAML text: the line of every key and item, and the keys written twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

# The parser in C is ten times faster; it is missing where PyYAML was built without libyaml.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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
