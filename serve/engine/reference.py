"""The engine ``reference``: transformers' own ``generate``, one request at a time.

Slow and plain: what the other engines are held against. Prompts are scored by one forward pass,
stop sequences are looked for after the whole answer has been generated. Greedy answers are those of
the other engines; sampled ones follow the same distribution, drawn in transformers' own way.
"""

from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from serve.contract import GREEDY_TEMPERATURE
from serve.engine import sampling
from serve.engine.answer import Answer
from serve.engine.base import GenRequest
from serve.engine.loading import LoadedModel
from serve.engine.serial import Job, Serial


class Reference(Serial):
    """An :class:`serve.engine.base.Engine` over ``model.generate``.

    Args:
        loaded: the model; its generation_config is emptied, because ``generate`` fills what a
            request leaves open from there.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        loaded.model.generation_config = GenerationConfig()
        super().__init__(loaded)
        self.grammars = None  # generate chooses the tokens

    @torch.inference_mode()
    def _generate(self, job: Job, answer: Answer) -> None:
        request = job.request
        ids = torch.tensor([request.prompt], device=self._model.device)
        if self._adapters:
            self._adapters.use([request.adapter] * len(request.prompt))
        if request.echo:
            self._score_prompt(job, ids, answer)
        if answer.finish_reason is None:
            output = self._whole(job, ids)
            tokens = output.sequences[0, ids.shape[1] :].tolist()
            for token, logits in zip(tokens, output.logits, strict=True):
                if answer.finish_reason is None:
                    answer.add(token, *sampling.score(logits, [token], request.candidates))

    def _score_prompt(self, job: Job, ids: torch.Tensor, answer: Answer) -> None:
        job.check()
        logits = self._model(input_ids=ids).logits[0]
        self.progressed(steps=1)
        nothing = torch.empty(0)  # there are no logits before the prompt
        answer.add_prompt(
            *sampling.score_prompt(job.request, 0, job.request.prompt, nothing, logits)
        )

    def _whole(self, job: Job, ids: torch.Tensor) -> Any:
        """Generates to EOS or the length, with the logits of each place."""
        seed = job.request.seed
        # generate draws from torch's global numbers; with one request at a time that is fair.
        torch.seed() if seed is None else torch.manual_seed(seed)
        job.check()
        return self._model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_settings(job.request, self._eos_ids),
            stopping_criteria=StoppingCriteriaList([_Watch(self, job)]),
        )


class _Watch(StoppingCriteria):
    """Asked by ``generate`` after each token: never stops it, but by an exception."""

    def __init__(self, engine: Reference, job: Job) -> None:
        self._engine, self._job = engine, job

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self._engine.progressed(steps=1, new_tokens=1)
        self._job.check()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def _settings(request: GenRequest, eos_ids: frozenset[int]) -> GenerationConfig:
    """A request in transformers' words."""
    settings: dict[str, Any] = {
        "max_new_tokens": request.max_new_tokens,
        "min_new_tokens": request.min_tokens or None,
        "eos_token_id": sorted(request.ending(eos_ids)) or None,
        "pad_token_id": 0,  # asked for, never used: there is one row
        "return_dict_in_generate": True,
        "output_logits": True,
    }
    if request.temperature > GREEDY_TEMPERATURE:
        settings |= {
            "do_sample": True,
            "temperature": request.temperature,
            "top_k": max(0, request.top_k),
            "top_p": request.top_p,
        }
    return GenerationConfig(**settings)
