"""The engine of models that are no causal ones: one loop, whatever makes the next token.

Behind it stands a :class:`Net`: an encoder with a decoder (:mod:`serve.engine.encdec`) or an
encoder that fills masks (:mod:`serve.engine.filling`). Requests join and leave at every step.
"""

from collections.abc import Sequence as Listed
from dataclasses import replace
from typing import Protocol

import torch

from serve.config import ServeConfig
from serve.engine.base import EngineStats
from serve.engine.loading import LoadedModel
from serve.engine.loop import Loop, Sequence
from serve.engine.memo import Prompt
from serve.engine.sampling import Score

#: What an echoed token has in the place of a score: its text has none.
_UNSCORED = Score(0.0, ())

#: Steps' worth of prompts that are read at once while no answer waits for its next token.
IDLE = 16


class Net(Protocol):
    """A model that tells what comes next in each of several answers."""

    def room(self, config: ServeConfig) -> tuple[int, int]:
        """Makes room; returns answers at a time, and most tokens of prompt and answer of each."""

    def cost(self, prompt: Prompt) -> int:
        """Tokens that are computed once, before the answer to a prompt begins."""

    def advance(self, rows: Listed[Sequence]) -> tuple[torch.Tensor, list[int]]:
        """One pass for all answers that run; what it has kept of others is dropped.

        Args:
            rows: each with its prompt and what has been answered so far.

        Returns:
            ``[rows, vocabulary]``, the next token's logits in float32; and the lengths of the
            prompts that begin with this pass and are shared, so that nothing was computed for them.
        """

    def forget(self) -> None:
        """After a failed pass: drops all that it has kept."""


class Conditional(Loop[Sequence, list[Sequence], torch.Tensor]):
    """An :class:`serve.engine.base.Engine` over a :class:`Net`.

    Args:
        loaded: the model.
        net: it.
        config: bounds of batch, step and memory.
    """

    sequence = Sequence

    def __init__(self, loaded: LoadedModel, net: Net, config: ServeConfig) -> None:
        self._net, self._budget = net, config.prefill_tokens
        self._most, context = net.room(config)
        info = replace(loaded.info, context=context)
        super().__init__(loaded, info, EngineStats(), loaded.text.never_answered)

    def _asks_model(self, sequence: Sequence) -> bool:
        request = sequence.request
        if request.echo:
            text = list(request.prompt[request.lead :])
            sequence.answer.add_prompt(text, [_UNSCORED] * len(text))
        return sequence.answer.finish_reason is None

    def _admit(self) -> None:
        """In order; beside answers that go on, no more new prompts than a step may read."""
        budget = self._budget * (1 if self._running else IDLE)
        begun = 0
        while self._waiting and len(self._running) < self._most:
            budget -= self._net.cost(self._waiting[0].request.prompt)
            if begun and budget < 0:
                return
            self._start(self._waiting[0])
            begun += 1

    def _compose(self) -> list[Sequence]:
        return list(self._running)

    def _forward(self, rows: list[Sequence]) -> torch.Tensor:
        logits, shared = self._net.advance(rows)
        self._count(reused_tokens=sum(shared), prefix_hits=len(shared))
        return logits

    def _take(self, rows: list[Sequence], logits: torch.Tensor) -> None:
        self._choose(rows, logits)

    def _forget(self) -> None:
        self._net.forget()
