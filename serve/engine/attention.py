"""Attention over a slot cache: the tokens of many requests in one forward pass, without padding.

It takes the place of a model's own (:mod:`serve.engine.installing`) and gets the tokens of a whole
step as one row ``[1, T]``: one token of every answer that goes on, and pieces of prompts. Every
linear layer then multiplies one matrix, and only attention looks at who belongs to whom. Keys and
values lie in slots, one a request, at the tokens' own positions: nothing is concatenated, padded or
moved while an answer grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from serve.engine import pages

#: What one more attention call costs, in keys that could be read meanwhile: about 20 us against
#: 0.1 us a token of a small model on two cores (measured).
CALL_COST = 256

#: The same on a card: some 40 us of launches against 1 to 4 ns a token of a model of 7 B
#: (reckoned from 3 TB/s, not measured).
CALL_COST_CUDA = 16384


class Unsupported(RuntimeError):
    """The model's attention does something that this module does not compute."""


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens of one request that are fed in one pass.

    Attributes:
        slot: where its keys and values lie.
        start: position of the first token.
        stop: position after the last one.
        padding: tokens after them that only fill a fixed shape.
    """

    slot: int
    start: int
    stop: int
    padding: int = 0

    @property
    def size(self) -> int:
        """Number of tokens, padding included."""
        return self.stop - self.start + self.padding


@dataclass(frozen=True)
class _Group:
    """Single tokens of slots ``first`` to ``last - 1``, answered by one attention call.

    Attributes:
        lengths: ``[last - first]`` keys of each slot; 1 for a slot that feeds nothing.
        rows: places of the tokens in the step.
        places: their slots, counted from ``first``.
    """

    first: int
    last: int
    lengths: list[int]
    rows: slice
    places: torch.Tensor | None

    @property
    def longest(self) -> int:
        return max(self.lengths)


@dataclass
class Batch:
    """Where each token of a forward pass belongs.

    Args:
        pieces: those of one token that have keys before them come first, by slot.
        device: of the model.
        fixed: keys that every attention call reads, whatever is there (0: as many as needed).
        bias: ``[heads, places]`` in float32, added to scores by the key's place; None: nothing is.
    """

    pieces: Sequence[Piece]
    device: torch.device
    fixed: int = 0
    bias: torch.Tensor | None = None
    masks: dict[Any, torch.Tensor] = field(default_factory=dict)  # once a pass, for all layers

    def __post_init__(self) -> None:
        slots = [piece.slot for piece in self.pieces for _ in range(piece.size)]
        places = [place for piece in self.pieces for place in _places(piece)]
        self.slots = torch.tensor(slots, device=self.device)
        self.places = torch.tensor(places, device=self.device)
        self.positions = self.places.clamp(min=0)  # padding's -1 is a place, no position
        singles = [piece for piece in self.pieces if piece.size == 1]
        self.groups = _groups(singles, self.device)
        self.chunks = [piece for piece in self.pieces if piece.size > 1]
        self.singles = len(singles)

    def group_mask(self, group: _Group, copies: int, window: int | None, dtype: torch.dtype) -> Any:
        """``[slots, 1, 1, keys]`` to add to the scores, or None where every key counts.

        With a bias ``[slots, key heads, copies, keys]``: ``copies`` query heads share a key head.
        """
        keys = self.fixed or group.longest
        whole = min(group.lengths) == keys and (not window or window >= keys)
        if whole and not self.fixed and self.bias is None:
            return None
        mask = self._mask((group.first, group.last, window), dtype, group.lengths, keys, window)
        return mask if self.bias is None else mask.view(len(mask), -1, copies, keys)

    def chunk_mask(
        self, piece: Piece, copies: int, window: int | None, dtype: torch.dtype, plain: bool = True
    ) -> Any:
        """``[copies * size, keys]``, or None where the plain causal mask is meant.

        With a bias ``[1, key heads, copies * size, keys]``; never None if not ``plain``.
        """
        keys = self.fixed or piece.stop
        causal = plain and piece.start == 0 and (not window or window >= keys)
        if causal and not self.fixed and self.bias is None:
            return None
        name = (piece, copies, window)
        if name not in self.masks:
            ends = [*range(piece.start + 1, piece.stop + 1), *[1] * piece.padding]
            rows = self._mask((piece, window), dtype, ends, keys, window)[:, :, 0]
            if self.bias is None:
                self.masks[name] = rows[:, 0].repeat(copies, 1)
            else:
                self.masks[name] = rows.transpose(0, 1).reshape(1, -1, copies * piece.size, keys)
        return self.masks[name]

    def _mask(
        self, name: Any, dtype: torch.dtype, ends: list[int], keys: int, window: int | None
    ) -> torch.Tensor:
        """``[len(ends), 1 or heads, 1, keys]``: what row i is to see of the keys.

        Those are the ``window`` ones before place ``ends[i]``.
        """
        if name not in self.masks:
            end = torch.tensor(ends, device=self.device)
            key = torch.arange(keys, device=self.device)
            hidden = (key >= end[:, None]) | ((key < end[:, None] - window) if window else False)
            mask = self._biases(end, keys).masked_fill(hidden[:, None], -torch.inf)
            self.masks[name] = mask[:, :, None].to(dtype)
        return self.masks[name]

    def _biases(self, end: torch.Tensor, keys: int) -> torch.Tensor:
        """``[len(end), 1 or heads, keys]`` in float32.

        Softmax heeds differences only. Those from the row's newest key are small where it looks
        most, so that a type with few digits holds them.
        """
        if self.bias is None:
            return torch.zeros(len(end), 1, keys, device=self.device)
        return self.bias[:, :keys] - self.bias[:, end - 1].T[..., None]


def _places(piece: Piece) -> list[int]:
    """Where in its slot each token is written; padding goes to the last place, which nobody has."""
    return [*range(piece.start, piece.stop), *[-1] * piece.padding]


def _groups(singles: list[Piece], device: torch.device) -> list[_Group]:
    """Joins neighbouring slots as long as that reads fewer keys than a further call costs."""
    cost = CALL_COST_CUDA if device.type == "cuda" else CALL_COST
    groups: list[list[Piece]] = []
    for piece in singles:
        if groups and _keys([*groups[-1], piece]) <= _keys(groups[-1]) + _keys([piece]) + cost:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    made, row = [], 0
    for pieces in groups:
        made.append(_group(pieces, row, device))
        row += len(pieces)
    return made


def _keys(pieces: list[Piece]) -> int:
    """Keys read by one call over these slots and those between them."""
    return (pieces[-1].slot + 1 - pieces[0].slot) * max(piece.stop for piece in pieces)


def _group(pieces: list[Piece], row: int, device: torch.device) -> _Group:
    first, last = pieces[0].slot, pieces[-1].slot + 1
    lengths = [1] * (last - first)  # not 0: a softmax over no key is NaN
    for piece in pieces:
        lengths[piece.slot - first] = max(piece.stop, 1)
    gaps = len(pieces) < last - first
    places = torch.tensor([piece.slot - first for piece in pieces], device=device) if gaps else None
    return _Group(first, last, lengths, slice(row, row + len(pieces)), places)


class SlotCache:
    """Keys and values of all slots, a pair of tensors ``[slots, heads, length, width]`` a layer.

    Args:
        shapes: of one token's key and value in each layer: ``(heads, key width, value width)``.
        slots: number of requests that fit.
        length: tokens that each of them may have.
        like: a tensor of the wanted type and device.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int, int]], slots: int, length: int, like: torch.Tensor
    ) -> None:
        self.keys = [pages.zeros((slots, h, length, k), like) for h, k, _ in shapes]
        self.values = [pages.zeros((slots, h, length, v), like) for h, _, v in shapes]
        self.batch: Batch | None = None

    def clear(self, slot: int, start: int, stop: int) -> None:
        """Zeroes tokens: a mask hides what is masked from a sum, but 0 x NaN is NaN."""
        for tensor in (*self.keys, *self.values):
            tensor[slot, :, start:stop] = 0

    def damaged(self) -> set[int]:
        """Slots in which the last pass wrote keys or values that are no finite numbers.

        The last layer's tell of all: what is NaN in a layer is NaN in every later one. Within a
        piece it is so before the damaged token, too: kernels multiply what the causal mask hides
        by 0.
        """
        assert self.batch is not None
        slots, places = self.batch.slots, self.batch.places
        written = (
            tensor[slots, :, places].flatten(1) for tensor in (self.keys[-1], self.values[-1])
        )
        keys, values = (rows.isfinite().all(1) for rows in written)
        broken = ~(keys & values) & (places >= 0)  # nobody reads what padding wrote
        return set(slots[broken].tolist())

    def attend(
        self, layer: int, query: torch.Tensor, new: tuple[torch.Tensor, torch.Tensor], **how: Any
    ) -> torch.Tensor:
        """Stores the new keys and values and attends to all that came before.

        Args:
            layer: index of the layer.
            query: ``[1, heads, T, width]``; tokens after those of the batch are padding.
            new: keys and values, each ``[1, key heads, T, width]``.
            how: ``scale`` of the scores, ``window`` of keys seen (None: all), ``cap`` that scores
                tend to (None: none).

        Returns:
            ``[1, T, heads, value width]``.
        """
        batch, (key, value) = self.batch, new
        assert batch is not None
        keys, values = self.keys[layer], self.values[layer]
        rows, live = query[0].transpose(0, 1), len(batch.slots)
        keys[batch.slots, :, batch.places] = key[0].transpose(0, 1)[:live]
        values[batch.slots, :, batch.places] = value[0].transpose(0, 1)[:live]
        parts = [_attend_group(batch, group, rows, keys, values, **how) for group in batch.groups]
        start = batch.singles
        for piece in batch.chunks:
            part = query[:, :, start : start + piece.size]
            parts.append(_attend_chunk(batch, piece, part, keys, values, **how))
            start += piece.size
        if live < len(rows):
            parts.append(rows.new_zeros(len(rows) - live, rows.shape[1], value.shape[3]))
        return torch.cat(parts)[None]


def _attend_group(
    batch: Batch,
    group: _Group,
    rows: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    window: int | None,
    **how: float | None,
) -> torch.Tensor:
    """Single tokens: the query heads that share a key head become rows of one query."""
    query = rows[group.rows]
    if group.places is not None:
        wide = query.new_zeros(group.last - group.first, *query.shape[1:])
        wide[group.places] = query
        query = wide
    count, heads, width = query.shape
    length = batch.fixed or group.longest
    span = slice(group.first, group.last)
    folded = query.reshape(count, keys.shape[1], -1, width)
    mask = batch.group_mask(group, folded.shape[2], window, query.dtype)
    output = _weigh(folded, keys[span, :, :length], values[span, :, :length], mask, **how)
    output = output.reshape(count, heads, values.shape[-1])
    return output if group.places is None else output[group.places]


def _attend_chunk(
    batch: Batch,
    piece: Piece,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    window: int | None,
    scale: float | None,
    cap: float | None = None,
) -> torch.Tensor:
    """A piece of a prompt over its slot; returns ``[size, heads, value width]``."""
    _, heads, size, width = query.shape
    length = batch.fixed or piece.stop
    key, value = keys[piece.slot, None, :, :length], values[piece.slot, None, :, :length]
    shared = heads // key.shape[1]
    mask = batch.chunk_mask(piece, shared, window, query.dtype, plain=not cap)
    if mask is None:
        causal: dict[str, Any] = {"is_causal": True, "enable_gqa": shared > 1}
        output = scaled_dot_product_attention(query, key, value, scale=scale, **causal)
    else:
        # With a mask, kernels of GPUs do not share key heads: again rows of one query.
        folded = query.reshape(1, key.shape[1], shared * size, width)
        output = _weigh(folded, key, value, mask, scale, cap)
    return output.reshape(heads, size, -1).transpose(0, 1)


def _weigh(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float | None,
    cap: float | None = None,
) -> torch.Tensor:
    """Values weighed by the softmax of their scores."""
    if not cap:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    # torch's function knows no cap: the formula, rounded where transformers rounds it.
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = torch.tanh(scores / cap) * cap
    scores = scores if mask is None else scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ value
