"""The engine ``hf-dynamic``: one request at a time over transformers' own ``DynamicCache``.

It works for any causal model that transformers can load, so it stands in where the batching engine
(:mod:`serve.engine.batching`) does not pass its self-check.

``generate`` is not used: it cannot score a prompt, keeps stop strings in its output, refuses zero
new tokens and takes hidden defaults from the model's generation_config.
"""

import inspect
from collections.abc import Iterator

import torch
from transformers.cache_utils import DynamicCache

from serve.engine import sampling
from serve.engine.answer import Answer
from serve.engine.base import EngineError
from serve.engine.loading import LoadedModel
from serve.engine.serial import Job, Serial

#: Prompt tokens per forward pass. Bounds the float32 logits of an echoed prompt (256 x 50k x 4 B =
#: 50 MB) and how long a cancel waits.
PREFILL_CHUNK = 256


class HfDynamic(Serial):
    """An :class:`serve.engine.base.Engine` that generates one request at a time, in order.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        parameters = inspect.signature(loaded.model.forward).parameters
        self._can_skip_logits = "logits_to_keep" in parameters
        super().__init__(loaded)

    @torch.inference_mode()
    def _generate(self, job: Job, answer: Answer) -> None:
        request = job.request
        cache = DynamicCache(config=self._model.config)
        logits = self._prefill(job, cache, answer)
        numbers = sampling.generator(request.seed)
        while answer.finish_reason is None:
            logits = sampling.only(logits.float(), [answer.allowed])
            [drawn] = sampling.draw(logits, [request], [numbers], [answer.barred])
            if isinstance(drawn, EngineError):
                raise drawn
            token, score = drawn
            answer.add(token, score)
            self.progressed(new_tokens=1)
            if answer.finish_reason is None:
                logits = self._forward(job, [token], cache, rows=1)

    def _prefill(self, job: Job, cache: DynamicCache, answer: Answer) -> torch.Tensor:
        """Feeds the prompt, scoring it under echo.

        Returns:
            ``[1, vocabulary]``: the logits after the prompt.
        """
        request = job.request
        last = torch.empty(0)  # logits before the chunk at hand
        for start, chunk in _chunks(request.prompt):
            logits = self._forward(job, chunk, cache, rows=len(chunk) if request.echo else 1)
            if request.echo:
                answer.add_prompt(*sampling.score_prompt(request, start, chunk, last, logits))
            last = logits[-1:]
        return last

    def _forward(self, job: Job, ids: list[int], cache: DynamicCache, rows: int) -> torch.Tensor:
        """One pass over new tokens; returns the logits of the last ``rows`` of them."""
        job.check()
        if self._adapters:
            self._adapters.use([job.request.adapter] * len(ids))
        options = {"logits_to_keep": rows} if self._can_skip_logits else {}
        batch = torch.tensor([ids], device=self._model.device)
        output = self._model(input_ids=batch, past_key_values=cache, use_cache=True, **options)
        self.progressed(steps=1)
        logits: torch.Tensor = output.logits[0, -rows:]
        return logits


def _chunks(prompt: tuple[int, ...]) -> Iterator[tuple[int, list[int]]]:
    """The prompt in pieces of PREFILL_CHUNK, each with its place."""
    for start in range(0, len(prompt), PREFILL_CHUNK):
        yield start, list(prompt[start : start + PREFILL_CHUNK])
