"""One forward pass over pieces of several requests, and the proof at load that it is right."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from typing import Any

import torch
from torch.nn.functional import pad

from serve.engine import hooks
from serve.engine.attention import Batch, Piece, SlotCache, Unsupported
from serve.engine.installing import install, probe, use
from serve.engine.loading import LoadedModel
from serve.engine.prefixes import BLOCK

log = logging.getLogger(__name__)

#: Largest difference of logits from a plain forward pass, as a share of the largest logit: sums in
#: another order in float32; a wrong mask or position is off by the logits themselves.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.02}


@dataclass(frozen=True)
class Feed:
    """A request's part of a step.

    Attributes:
        piece: which of its tokens.
        tokens: their ids.
        wanted: how many of the last logits are needed.
        adapter: who answers; None: the model itself.
    """

    piece: Piece
    tokens: Sequence[int]
    wanted: int
    adapter: str | None = None


class Stepper:
    """A model whose attention is ours, with its slots.

    Attributes:
        unit: size of every prompt piece, or 0.
        damaged: slots whose tokens of the last step came out as NaN or infinite.

    Args:
        loaded: the model; its attention is replaced.
        unit: 0, or the size of every prompt piece: all passes then have fixed shapes, so that what
            else is in them cannot change a result by a single bit.

    Raises:
        Unsupported: the model does not take our attention.
    """

    def __init__(self, loaded: LoadedModel, unit: int = 0) -> None:
        self._model: Any = loaded.model
        self._adapters = loaded.adapters
        self.unit = unit
        self.damaged: set[int] = set()
        self._attention = install(loaded.model)
        self._shapes = probe(loaded.model, self._attention)
        parameters = inspect.signature(loaded.model.forward).parameters
        self._can_skip_logits = "logits_to_keep" in parameters  # not every class has it
        self._slots = self._length = 0

    @property
    def token_bytes(self) -> int:
        """Memory of one token's keys and values, bytes."""
        width = sum(heads * (key + value) for heads, key, value in self._shapes)
        return int(width * self._model.dtype.itemsize)

    def allocate(self, slots: int, length: int) -> None:
        """Makes the cache; one place more than whole blocks take is for what padding writes."""
        like = torch.empty(0, dtype=self._model.dtype, device=self._model.device)
        self._slots, self._length = slots, length
        places = -(-length // BLOCK) * BLOCK + 1
        self.cache = SlotCache(self._shapes, slots, places, like)
        self._bias = hooks.bias(self._model, length)
        use(self._attention, self.cache)

    @torch.inference_mode()
    def step(self, feeds: Sequence[Feed]) -> list[torch.Tensor]:
        """Feeds tokens and returns logits.

        Args:
            feeds: single tokens first, by slot.

        Returns:
            ``[wanted, vocabulary]`` in float32 for each of them.
        """
        self.damaged = set()
        if not self.unit:
            return self._forward(feeds)
        singles = {feed.piece.slot: feed for feed in feeds if feed.piece.size == 1}
        every = [_single(singles.get(slot), slot) for slot in range(self._slots)]
        rows = self._forward(every) if singles else []
        chunks = [self._forward([self._padded(feed)])[0] for feed in feeds if feed.piece.size > 1]
        return [rows[slot] for slot in singles] + chunks

    def _padded(self, feed: Feed) -> Feed:
        """A prompt's piece with padding up to the unit."""
        padding = self.unit - feed.piece.size
        tokens = [*feed.tokens, *[0] * padding]
        return replace(feed, piece=replace(feed.piece, padding=padding), tokens=tokens)

    def _forward(self, feeds: Sequence[Feed]) -> list[torch.Tensor]:
        device = self._model.device
        pieces = [feed.piece for feed in feeds]
        batch = Batch(pieces, device, self._length if self.unit else 0, self._bias)
        self.cache.batch = batch
        tokens = [token for feed in feeds for token in feed.tokens]
        padding = rounded(len(tokens)) - len(tokens)
        if self._adapters:
            names = [feed.adapter for feed in feeds for _ in feed.tokens]
            self._adapters.use(names + [None] * padding)
        kept = _kept(feeds)
        keep = torch.tensor(
            kept + [0] * (rounded(len(kept)) - len(kept)), dtype=torch.long, device=device
        )
        options: dict[str, Any] = {"logits_to_keep": keep} if self._can_skip_logits else {}
        output = self._model(
            input_ids=torch.tensor([tokens + [0] * padding], device=device),
            position_ids=pad(batch.positions, (0, padding))[None],
            use_cache=False,  # keys and values are our attention's to keep
            **options,
        )
        self.damaged |= self.cache.damaged()
        logits = output.logits[0] if self._can_skip_logits else output.logits[0, keep]
        return list(logits[: len(kept)].float().split([feed.wanted for feed in feeds]))


def rounded(rows: int) -> int:
    """Up to a multiple of 8 over 16: oneDNN makes and keeps code for every number of rows.

    Without it, steps of 1,000 sizes cost the worker 640 MB and the time to make that code.
    """
    return rows if rows <= 16 else (rows + 7) // 8 * 8


def _single(feed: Feed | None, slot: int) -> Feed:
    """The slot's single token, or padding in its place."""
    return feed or Feed(Piece(slot, 0, 0, padding=1), [0], wanted=1)


def _kept(feeds: Sequence[Feed]) -> list[int]:
    """Places, among all tokens of the step, of the logits that are wanted."""
    places: list[int] = []
    start = 0
    for feed in feeds:
        stop = start + feed.piece.size - feed.piece.padding
        last = stop if feed.piece.stop else stop + 1  # padding in a single's place has a row, too
        places += range(last - feed.wanted, last)
        start += feed.piece.size
    return places


def expected_logits(model: Any, samples: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Logits of each sample by a plain forward pass of the model as it is now, ``[length, vocab]``.

    Args:
        model: with transformers' own attention.
        samples: token ids.
    """
    with torch.inference_mode():
        return [
            model(torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
            for ids in samples
        ]


def self_check_samples(vocabulary: int) -> list[list[int]]:
    """Three ragged sequences of ids, the same every time."""
    numbers = torch.Generator().manual_seed(0)
    return [
        torch.randint(vocabulary, (length,), generator=numbers).tolist() for length in (5, 23, 40)
    ]


def self_check(stepper: Stepper, samples: list[list[int]], expected: list[torch.Tensor]) -> None:
    """Feeds the samples together, in pieces and token by token, and compares the logits.

    Raises:
        Unsupported: they differ from ``expected``.
    """
    stepper.allocate(len(samples) + 1, max(map(len, samples)))
    got: list[list[torch.Tensor]] = [[] for _ in samples]
    for pieces in _check_steps(samples, stepper.unit):
        feeds = [Feed(p, samples[p.slot][p.start : p.stop], p.size) for p in pieces]
        for piece, rows in zip(pieces, stepper.step(feeds), strict=True):
            got[piece.slot].append(rows)
    for rows, wanted in zip(got, expected, strict=True):
        difference = float((torch.cat(rows) - wanted).abs().max())
        allowed = TOLERANCE[stepper.cache.keys[0].dtype] * float(wanted.abs().max())
        log.debug("self-check: logits differ by %.2g, allowed %.2g", difference, allowed)
        if not difference <= allowed:  # so written, NaN is refused, too
            raise Unsupported(f"logits differ by {difference:.2g} from transformers' own")


def _check_steps(samples: list[list[int]], unit: int) -> Iterator[list[Piece]]:
    """Prompts in pieces of several sizes (or all of ``unit``), then three single tokens of each."""
    queues = []
    for slot, (ids, size) in enumerate(zip(samples, (4, 20, 12), strict=True)):
        last = len(ids) - 3
        cuts = [*range(0, last, unit or size), *range(last, len(ids) + 1)]
        queues.append([Piece(slot, start, stop) for start, stop in pairwise(cuts)])
    for pieces in zip_longest(*queues):
        yield sorted(filter(None, pieces), key=lambda piece: (piece.size > 1, piece.slot))
