"""The engine ``transformers``: continuous batching over a slot cache, an own loop over the model.

Requests join and leave at every step. A step feeds one token of every answer that goes on, and
pieces of new prompts up to a budget, in one forward pass. transformers' own manager of this kind
gives no prompt logprobs, stop strings or seeds of a request's own, and one bad request ends it.
"""

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, replace

import torch

from serve.config import ServeConfig
from serve.engine import memory, sampling
from serve.engine.answer import Answer
from serve.engine.attention import Piece
from serve.engine.base import EngineError, EngineStats, GenRequest, GenResult
from serve.engine.keeping import Keeping
from serve.engine.loading import LoadedModel
from serve.engine.loop import Loop, Sequence
from serve.engine.prefixes import common
from serve.engine.slots import Slot
from serve.engine.stepping import Feed, Stepper
from serve.engine.turns import Turns

#: Tokens that may be copied to new requests in a step, for each one that may be computed: as long
#: as a quarter of a step takes.
COPIED = 32

#: Tokens that are worth a step's wait while another computes them: of all who would wait together,
#: and of each.
WORTH, LEAST = 32, 8


class _Sequence(Sequence):
    """A request and its place in the cache.

    Attributes:
        done: how many of its tokens have keys and values; before it has a slot, how many will have
            as soon as it gets one.
        slot: its place in the cache once it is fed.
    """

    def __init__(self, request: GenRequest, answer: Answer, future: Future[GenResult]) -> None:
        super().__init__(request, answer, future)
        self.done = 0
        self.slot: Slot | None = None
        self.last_logits = torch.empty(0)  # under echo: after the piece before

    @property
    def pending(self) -> int:
        """Tokens still to be fed."""
        return len(self.tokens) - self.done

    @property
    def reads_prompt(self) -> bool:
        """Whether a part of its prompt is still to be fed."""
        return self.done < len(self.request.prompt)

    @property
    def scores_prompt(self) -> bool:
        """Whether what is fed next is a prompt to be echoed with its scores."""
        return self.request.echo and self.reads_prompt


@dataclass(frozen=True)
class _Part:
    """A sequence's part of one step.

    Attributes:
        sequence: whose.
        count: tokens fed.
        completes: whether its next token can be chosen after it.
    """

    sequence: _Sequence
    count: int
    completes: bool

    @property
    def place(self) -> Slot:
        """The sequence's slot."""
        assert self.sequence.slot is not None
        return self.sequence.slot

    @property
    def slot(self) -> int:
        """Its index."""
        return self.place.index

    def feed(self) -> Feed:
        """What the model is fed."""
        sequence, start = self.sequence, self.sequence.done
        wanted = self.count if sequence.scores_prompt else int(self.completes)
        tokens = sequence.tokens[start : start + self.count]
        piece = Piece(self.slot, start, start + self.count)
        return Feed(piece, tokens, wanted, sequence.request.adapter)


_Stepped = list[tuple[_Part, torch.Tensor]]


class Batching(Loop[_Sequence, list[_Part], list[torch.Tensor]]):
    """An :class:`serve.engine.base.Engine` that generates many requests together.

    Args:
        loaded: the model.
        stepper: it, with our attention.
        config: bounds of batch, step and memory.
    """

    sequence = _Sequence

    def __init__(self, loaded: LoadedModel, stepper: Stepper, config: ServeConfig) -> None:
        count, context = memory.slots(loaded, stepper.token_bytes, config)
        bounds = memory.bounds(loaded, stepper.token_bytes, count * context, config)
        stepper.allocate(count, context)
        self._stepper, self._most = stepper, count
        self._turns = Turns(config.prefill_tokens, config.deterministic)
        self._keeping = Keeping(stepper.cache, count, bounds, stepper.unit)
        self._copied = COPIED * config.prefill_tokens
        info = replace(loaded.info, context=context)
        super().__init__(loaded, info, EngineStats(cache_tokens=count * context))

    def stats(self) -> EngineStats:
        """See :class:`serve.engine.base.Engine`."""
        return replace(super().stats(), kept_tokens=self._keeping.kept)

    def _forward(self, parts: list[_Part]) -> list[torch.Tensor]:
        return self._stepper.step([part.feed() for part in parts])

    def _take(self, parts: list[_Part], logits: list[torch.Tensor]) -> None:
        sound = self._sound(parts, logits)
        self._score_prompts(sound)  # first: it reads ``done`` as it was before the pass
        self._advance(sound)

    def _sound(self, parts: list[_Part], logits: list[torch.Tensor]) -> _Stepped:
        """The parts that came out as numbers, with their logits; the others' requests fail."""
        sound: _Stepped = []
        for part, rows in zip(parts, logits, strict=True):
            if part.slot in self._stepper.damaged:
                self._discard(part)
            else:
                sound.append((part, rows))
        return sound

    def _discard(self, part: _Part) -> None:
        """Fails a request whose keys or values are NaN, and leaves none of them in its slot.

        Left there, they would reach whoever takes the slot next: as a prefix it shares, or masked
        beside a longer neighbour.
        """
        start = part.sequence.done
        self._stepper.cache.clear(part.slot, start, start + part.count)
        self._end(part.sequence, EngineError(sampling.BROKEN))

    def _admit(self) -> None:
        """In order, as many as there are slots."""
        while self._waiting and len(self._running) < self._most:
            self._start(self._waiting[0])

    def _compose(self) -> list[_Part]:
        """What is fed next: a token of each answer, and prompts while the budget lasts."""
        new = self._new()
        able = [sequence for sequence in self._running if sequence.slot or sequence in new]
        answers = [sequence for sequence in able if sequence.pending == 1]
        prompts = [sequence for sequence in able if sequence.pending > 1]
        turns = list(self._turns.next([s.pending for s in prompts], len(answers)))
        parts = [self._part(sequence, 1) for sequence in answers]
        parts += [self._part(prompts[place], count) for place, count in turns]
        fed = [part for part in parts if part]
        self._keeping.write((part.place, part.sequence.done + part.count) for part in fed)
        # The order that Batch and the stepper want.
        return sorted(fed, key=lambda part: (part.count > 1, part.slot))

    def _new(self) -> list[_Sequence]:
        """Requests without a slot whose turn may come: all but those that gain by waiting."""
        reading = [one for one in self._running if one.slot and one.reads_prompt]
        without = [one for one in self._running if not one.slot]
        worth = max(LEAST, WORTH // max(len(without), 1))
        new: list[_Sequence] = []
        copied = 0
        for sequence in without:
            request = sequence.request
            reuse = not request.echo
            sequence.done = self._keeping.reach(request.prompt, request.adapter) if reuse else 0
            if reuse and any(self._gains(sequence, one, worth) for one in reading + new):
                continue
            copied += sequence.done
            if new and copied > self._copied:
                break
            new.append(sequence)
        return new

    def _gains(self, sequence: _Sequence, other: _Sequence, worth: int) -> bool:
        """Whether another request is computing enough of what this one shares with it."""
        mine, theirs = sequence.request.prompt, other.request.prompt
        more = slice(sequence.done, sequence.done + worth)
        if sequence.request.adapter != other.request.adapter or mine[more] != theirs[more]:
            return False  # in most cases: cheaper than what follows
        shared = min(common(mine, theirs), len(mine) - 1, self._keeping.most)
        return self._keeping.whole(shared) - sequence.done >= worth

    def _part(self, sequence: _Sequence, count: int) -> _Part | None:
        """A sequence's part of the step; it gets a slot if it has none."""
        if not sequence.slot:
            request = sequence.request
            place = self._keeping.place(request.prompt, request.adapter, reuse=not request.echo)
            sequence.slot, sequence.done = place.slot, place.reused
            self._count(reused_tokens=place.reused, prefix_hits=int(place.reused > 0))
            if count == 1 < sequence.pending:
                return None  # what was there is gone: it is a prompt to be read like others
        count = min(count, sequence.pending)
        return _Part(sequence, count, count == sequence.pending)

    def _score_prompts(self, stepped: _Stepped) -> None:
        """Echo: gives the answers their prompts' tokens."""
        for part, rows in stepped:
            sequence = part.sequence
            if sequence.scores_prompt:
                with self._guarded(sequence):
                    start = sequence.done
                    chunk = sequence.tokens[start : start + part.count]
                    sequence.answer.add_prompt(
                        *sampling.score_prompt(
                            sequence.request, start, chunk, sequence.last_logits, rows
                        )
                    )
                    sequence.last_logits = rows[-1:].clone()  # a view would keep the whole piece's

    def _advance(self, stepped: _Stepped) -> None:
        """Notes what was fed; chooses the next tokens."""
        for part, _ in stepped:
            sequence = part.sequence
            read = sequence.reads_prompt
            sequence.done += part.count
            if sequence.slot and read:  # no slot where scoring its prompt has failed
                self._keep(sequence)
        ready = [
            (part.sequence, rows[-1:])
            for part, rows in stepped
            if part.completes and part.sequence.slot
        ]
        for sequence, _ in ready:
            if sequence.answer.finish_reason:  # a prompt that was only to be scored
                self._end(sequence)
        ready = [(sequence, rows) for sequence, rows in ready if sequence.slot]
        if ready:
            self._choose([sequence for sequence, _ in ready], torch.cat([r for _, r in ready]))

    def _keep(self, sequence: _Sequence) -> None:
        """What is there of a sequence stays for others that begin like it."""
        assert sequence.slot is not None
        tokens = tuple(sequence.tokens[: sequence.done])
        self._keeping.keep(sequence.slot, tokens, len(sequence.request.prompt))

    def _release(self, sequence: _Sequence) -> None:
        if sequence.slot:
            with contextlib.suppress(RuntimeError):  # a card that failed may take no order any more
                self._keep(sequence)
            tokens = tuple(sequence.tokens[: sequence.done])
            self._keeping.release(sequence.slot, tokens, len(sequence.request.prompt))
            sequence.slot = None

    def _forget(self) -> None:
        """After a failed pass nothing in the cache can be trusted."""
        self._keeping.forget()
