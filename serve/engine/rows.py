"""Keys and values of a decoder's rows: those of what each has said, those of what each has read.

Rows stand side by side in one block a layer, and the newest token of every row is in the same
column: one forward pass then feeds them all, however long each is. What lies before a row's first
token is masked, and relative positions, which count from the newest token, are right by themselves.
A row that leaves is replaced by the last one, so nothing else is moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, EncoderDecoderCache

#: Columns are given out in such pieces.
_UNIT = 64


class _Block:
    """``[rows, heads, columns, width]`` that grows in columns."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.data = torch.empty(0, 0, 0, 0)

    def grow(self, like: torch.Tensor, columns: int, live: int, kept: slice) -> None:
        """Has so many columns from now on; the columns ``kept`` of live rows become the first.

        Args:
            like: ``[any, heads, any, width]`` of the type and place that are wanted.
            columns: at least those kept.
            live: rows that hold something.
            kept: columns.
        """
        shape = (self._rows, like.shape[1], columns, like.shape[3])
        grown = like.new_zeros(shape)  # zeros: what nobody has written is read behind a mask
        if live:
            old = self.data[:live, :, kept]
            grown[:live, :, : old.shape[2]] = old
        self.data = grown


class _Said(CacheLayerMixin):
    """One layer's self-attention, as transformers asks for it."""

    is_sliding = False

    def __init__(self, rows: "Rows") -> None:
        super().__init__()
        self._of = rows
        self.blocks = _Block(rows.most), _Block(rows.most)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: the blocks are made when the first row joins."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes the new column of every row; returns all columns that any of them has."""
        live, end, first = len(self._of), self._of.end, self._of.first
        both = []
        for block, states in zip(self.blocks, (key_states, value_states), strict=True):
            block.data[:live, :, end : end + 1] = states
            both.append(block.data[:live, :, first : end + 1])
        return both[0], both[1]

    def get_seq_length(self) -> int:
        """Columns before the new one: its place among them, by which biases are chosen."""
        return self._of.end - self._of.first

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As of a cache without any bound."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """None."""
        return -1


class _Read(_Said):
    """One layer's cross-attention: written once, when a row joins."""

    def show(self, live: int, width: int) -> None:
        """What the next pass sees."""
        self.keys, self.values = (block.data[:live, :, :width] for block in self.blocks)

    def get_seq_length(self) -> int:
        """Any number but 0: it is there."""
        return 1


@dataclass
class _Row:
    """One row.

    Attributes:
        key: whose it is.
        start: column of its first token.
        read: tokens of its prompt.
    """

    key: object
    start: int
    read: int


class Rows:
    """The caches of all rows of a decoder.

    Args:
        layers: of the decoder.
        most: rows at a time.

    Attributes:
        end: column that the next tokens get.
        first: first column that any row has.
    """

    def __init__(self, layers: int, most: int) -> None:
        self.most, self.end, self.first = most, 0, 0
        self._rows: list[_Row] = []
        self._said = [_Said(self) for _ in range(layers)]
        self._read = [_Read(self) for _ in range(layers)]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> list[Any]:
        """Whose rows these are, in order."""
        return [row.key for row in self._rows]

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row has said: the position of the next one."""
        return [self.end - row.start for row in self._rows]

    def keep(self, wanted: set[object]) -> None:
        """Drops the rows of all others."""
        for place in reversed(range(len(self._rows))):
            if self._rows[place].key not in wanted:
                self._drop(place)

    def _drop(self, place: int) -> None:
        last = len(self._rows) - 1
        if place < last:
            for layer in (*self._said, *self._read):
                for block in layer.blocks:
                    block.data[place] = block.data[last]
            self._rows[place] = self._rows[last]
        self._rows.pop()

    def cache(self) -> EncoderDecoderCache:
        """What the next pass, of one token of each row, is given."""
        self._make_room()
        width = max(row.read for row in self._rows)
        for layer in self._read:
            layer.show(len(self), width)
        return EncoderDecoderCache(Cache(layers=self._said), Cache(layers=self._read))

    def stepped(self) -> None:
        """The pass is over: its column is the newest."""
        self.end += 1

    def masks(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is to be added to scores: 0, or as good as minus infinity where nothing is seen.

        Args:
            like: a tensor of the type and place that are wanted.

        Returns:
            ``[rows, 1, 1, columns]`` twice: of what was said, the new column with it, and of what
            was read.
        """
        columns = torch.arange(self.first, self.end + 1)
        starts = torch.tensor([row.start for row in self._rows])
        reads = torch.tensor([row.read for row in self._rows])
        said = columns[None] < starts[:, None]
        read = torch.arange(int(reads.max()))[None] >= reads[:, None]
        shut = torch.finfo(like.dtype).min
        one, other = (
            torch.zeros(hidden.shape).masked_fill(hidden, shut)[:, None, None].to(like)
            for hidden in (said, read)
        )
        return one, other

    def join(self, keys: Sequence[object], reads: Sequence[int], cache: Any) -> None:
        """Takes new rows, whose first token has just been fed.

        Args:
            keys: whose they are.
            reads: tokens of their prompts.
            cache: of that pass, as transformers fills it.
        """
        said, read = cache.self_attention_cache, cache.cross_attention_cache
        if not self._rows:
            self.end = self.first = 0
            self._make_room(said)
            self.end = 1
        self._widen(read)
        first = len(self._rows)
        for ours, theirs in ((self._said, said), (self._read, read)):
            for layer, new in zip(ours, theirs.layers, strict=True):
                for block, states in zip(layer.blocks, (new.keys, new.values), strict=True):
                    column = self.end - 1 if ours is self._said else 0
                    _write(block.data[first : first + len(keys)], states, column)
        start = self.end - 1
        self._rows += [_Row(key, start, n) for key, n in zip(keys, reads, strict=True)]
        self.first = min(row.start for row in self._rows)

    def _make_room(self, cache: DynamicCache | None = None) -> None:
        """One more column of what was said; a ``cache`` tells the shape of the first."""
        self.first = min((row.start for row in self._rows), default=0)
        if self._said[0].blocks[0].data.shape[2] > self.end:
            return
        kept = slice(self.first, self.end)
        columns = _UNIT + 2 * (self.end - self.first)
        for place, layer in enumerate(self._said):
            new = cache.layers[place] if cache else None
            likes = (new.keys, new.values) if new else [block.data for block in layer.blocks]
            for block, like in zip(layer.blocks, likes, strict=True):
                block.grow(like, columns, len(self._rows), kept)
        for row in self._rows:
            row.start -= self.first
        self.end, self.first = self.end - self.first, 0

    def _widen(self, cache: DynamicCache) -> None:
        """Room for what the new rows have read."""
        width = cache.layers[0].keys.shape[2]
        if self._read[0].blocks[0].data.shape[2] >= width:
            return
        columns = (width + _UNIT - 1) // _UNIT * _UNIT
        for layer, new in zip(self._read, cache.layers, strict=True):
            for block, like in zip(layer.blocks, (new.keys, new.values), strict=True):
                block.grow(like, columns, len(self._rows), slice(None))


def _write(rows: torch.Tensor, states: torch.Tensor, column: int) -> None:
    """Writes states from a column on, and zeros around them: what was there may not be a number."""
    rows[:, :, :column] = 0
    rows[:, :, column : column + states.shape[2]] = states
    rows[:, :, column + states.shape[2] :] = 0
