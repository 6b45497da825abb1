"""Where things stand in a YAML text: the line of every key and item, and the keys written twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

# The parser in C is ten times faster; it is missing where PyYAML was built without libyaml.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

KeyPath = tuple[str | int, ...]


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
        yaml.YAMLError: not YAML.
    """
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


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
            yield str(key.value), key, value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, value


def drop_repeats(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int, int]]:
    """Take keys that come again out of the tree; yield each path, its line and the first one's."""
    if isinstance(node, yaml.MappingNode):
        first: dict[Any, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.value in first:
                earlier = first[key.value][0].start_mark.line + 1
                yield (*path, str(key.value)), key.start_mark.line + 1, earlier
            first.setdefault(key.value, (key, value))
        node.value = list(first.values())
    for part, _, value in _children(node):
        yield from drop_repeats(value, (*path, part))
