"""The engine ``transformers``: continuous batching over a slot cache, an own loop over the model.

Requests join and leave at every step. A step feeds one token of every answer that goes on, and
pieces of new prompts up to a budget, in one forward pass. transformers' own manager of this kind
gives no prompt logprobs, stop strings or seeds of a request's own, and one bad request ends it.
"""

from concurrent.futures import Future
from dataclasses import dataclass, replace

import torch

from serve.config import ServeConfig
from serve.engine import memory, sampling
from serve.engine.answer import Answer
from serve.engine.attention import Piece
from serve.engine.base import EngineError, EngineStats, GenRequest, GenResult
from serve.engine.loading import LoadedModel
from serve.engine.loop import Loop, Sequence
from serve.engine.slots import Slot, Slots
from serve.engine.stepping import Feed, Stepper
from serve.engine.turns import Turns


class _Sequence(Sequence):
    """A request and its place in the cache.

    Attributes:
        done: how many of its tokens have keys and values.
        slot: its place in the cache once it has one.
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
    def scores_prompt(self) -> bool:
        """Whether what is fed next is a prompt to be echoed with its scores."""
        return self.request.echo and self.done < len(self.request.prompt)


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
    def slot(self) -> int:
        """Index of the sequence's slot."""
        assert self.sequence.slot is not None
        return self.sequence.slot.index

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
        stepper.allocate(count, context)
        self._stepper = stepper
        self._turns = Turns(config.prefill_tokens, config.deterministic)
        self._slots = Slots(count, unit=config.prefill_tokens if config.deterministic else 1)
        info = replace(loaded.info, context=context)
        super().__init__(loaded, info, EngineStats(cache_tokens=count * context))

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
        """Gives waiting requests slots, in order but for those that gain by waiting."""
        for sequence in list(self._waiting):
            request = sequence.request
            place = self._slots.take(request.prompt, request.adapter, reuse=not request.echo)
            if place is None:
                continue
            if place.source:
                self._stepper.cache.copy(place.source.index, place.slot.index, place.reused)
            sequence.slot, sequence.done = place.slot, place.reused
            self._start(sequence)
            self._count(reused_tokens=place.reused, prefix_hits=int(place.reused > 0))

    def _compose(self) -> list[_Part]:
        """What is fed next: a token of each answer, and prompts while the budget lasts."""
        answers = [sequence for sequence in self._running if sequence.pending == 1]
        prompts = [sequence for sequence in self._running if sequence.pending > 1]
        parts = [_Part(sequence, 1, completes=True) for sequence in answers]
        for place, count in self._turns.next([s.pending for s in prompts], len(answers)):
            parts.append(_Part(prompts[place], count, count == prompts[place].pending))
        # The order that Batch and the stepper want.
        return sorted(parts, key=lambda part: (part.count > 1, part.slot))

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
            part.sequence.done += part.count
            if part.sequence.slot:  # none where scoring its prompt has failed
                part.sequence.slot.ready = part.sequence.done
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

    def _release(self, sequence: _Sequence) -> None:
        if sequence.slot:
            self._slots.release(sequence.slot, sequence.tokens, sequence.done)
            sequence.slot = None

    def _forget(self) -> None:
        """After a failed pass nothing in the cache can be trusted."""
        self._slots.forget()
        self._stepper.cache.clear_all()
