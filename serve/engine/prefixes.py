"""Which prompts have left their keys and values, and where: a trie of blocks.

Few-shot prompts repeat hundreds of tokens, and the same prompt is asked again. A block holds some
neighbouring tokens; those of two prompts are the same ones as far as the prompts are the same, so
each is kept once. Of a block a part will do, so a match is exact to the token. Whose turn it is to
go is who was not used for longest, and nobody goes before what follows on it.

Nothing here knows of tensors: blocks are numbers, what lies in them is copied by
:mod:`serve.engine.keeping`. Since it is copied, a request that runs needs no block to stay.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Tokens of a block: small, for the last one of a prompt is filled in part only.
BLOCK = 16

Tokens = tuple[int, ...]


def common(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences share at their heads."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(eq=False)
class _Node:
    """A block and what follows on it.

    Attributes:
        parent: the block before it; None: it is the root of an adapter's.
        tokens: those it holds; only a full one has others behind it.
        block: its number.
        children: those behind it, by their tokens; none is the beginning of another.
    """

    parent: "_Node | None"
    tokens: Tokens = ()
    block: int = -1
    children: dict[Tokens, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """What is there of a prompt.

    Attributes:
        length: in tokens.
        blocks: where they lie, in order; of the last one perhaps a part.
    """

    length: int
    blocks: list[int]


@dataclass(frozen=True)
class Fill:
    """What is to be copied into a block.

    Attributes:
        block: its number.
        start: place of its first token in the prompt.
        stop: place after the last one.
    """

    block: int
    start: int
    stop: int


class Prefixes:
    """The trie, one for all adapters: what one of them made is of no use to another.

    Args:
        blocks: how many there are.
        size: tokens of each.
    """

    def __init__(self, blocks: int, size: int = BLOCK) -> None:
        self._size, self._blocks = size, blocks
        self.forget()

    def forget(self) -> None:
        """Empties it."""
        self._roots: dict[str | None, _Node] = {}
        self._free = list(reversed(range(self._blocks)))  # neighbours first: copied in one go
        # Unused for longest first; who follows on another comes before it.
        self._order: OrderedDict[_Node, None] = OrderedDict()

    def __len__(self) -> int:
        """Blocks in use."""
        return len(self._order)

    def match(self, tokens: Tokens, adapter: str | None) -> Match:
        """The longest head of a prompt that is there; it counts as used."""
        path = list(self._path(tokens, adapter))
        self._touch(path)
        if not path:
            return Match(0, [])
        full = self._size * (len(path) - 1)
        last = common(path[-1].tokens, tokens[full : full + self._size])
        return Match(full + last, [node.block for node in path])

    def insert(self, tokens: Tokens, adapter: str | None, limit: int) -> list[Fill]:
        """Makes room for a prompt, as far as there is some.

        Args:
            tokens: of the prompt.
            adapter: who answers it.
            limit: blocks that may be in use then.

        Returns:
            What is to be copied to have it all there.
        """
        node = self._roots.setdefault(adapter, _Node(None))
        path: list[_Node] = []
        fills = []
        for start in range(0, len(tokens), self._size):
            piece = tokens[start : start + self._size]
            child = node.children.get(piece) or _alike(node, piece)
            if child is None or len(child.tokens) < len(piece):
                child = child or self._new(node, limit, path)
                if child is None:
                    break
                _rename(child, piece)
                fills.append(Fill(child.block, start, start + len(piece)))
            path.append(child)
            self._touch([child])
            node = child
        self._touch(path)
        return fills

    def shrink(self, limit: int) -> list[int]:
        """Gives up blocks until no more are in use; returns which."""
        return [self._evict() for _ in range(len(self._order) - limit)]

    def _path(self, tokens: Tokens, adapter: str | None) -> Iterator[_Node]:
        """The blocks of a prompt's head; the last one perhaps goes on in another way."""
        node = self._roots.get(adapter)
        start = 0
        while node is not None and start < len(tokens):
            piece = tokens[start : start + self._size]
            child = node.children.get(piece)
            last = child is None
            child = child or _nearest(node, piece)
            if child is not None:
                yield child
            node, start = None if last else child, start + self._size

    def _touch(self, path: list[_Node]) -> None:
        """They are the last to go, the first of them last of all."""
        for node in reversed(path):
            self._order[node] = None
            self._order.move_to_end(node)

    def _new(self, parent: _Node, limit: int, path: list[_Node]) -> _Node | None:
        """A block behind another, of those in use for other prompts if need be."""
        limit = min(limit, self._blocks)
        while len(self._order) >= limit:
            # Those of the path were used just now, the first of them before the others.
            if not self._order or next(iter(self._order)) in path[:1]:
                return None
            self._evict()
        return _Node(parent, (), self._free.pop())

    def _evict(self) -> int:
        node, _ = self._order.popitem(last=False)
        assert node.parent is not None
        del node.parent.children[node.tokens]
        self._free.append(node.block)
        return node.block


def _nearest(node: _Node, piece: Tokens) -> _Node | None:
    """The block behind another that begins most like a piece; None: none begins like it."""
    able = [child for tokens, child in node.children.items() if tokens[0] == piece[0]]
    return min(able, key=lambda one: (-common(one.tokens, piece), one.tokens), default=None)


def _alike(node: _Node, piece: Tokens) -> _Node | None:
    """The block behind another that holds a piece and more, or its beginning only."""
    child = _nearest(node, piece)
    if child and common(child.tokens, piece) == min(len(child.tokens), len(piece)):
        return child
    return None


def _rename(node: _Node, tokens: Tokens) -> None:
    """A block holds other tokens from now on, or its first ones."""
    assert node.parent is not None
    node.parent.children.pop(node.tokens, None)
    node.tokens = tokens
    node.parent.children[tokens] = node
