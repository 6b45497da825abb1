"""Our requests in vLLM's words, and vLLM's outputs in ours: pure functions, no vLLM loaded.

Classes and fields are those of vLLM 0.32.0.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serve.config import ServeConfig
from serve.contract import GREEDY_TEMPERATURE, LOGPROB_FLOOR
from serve.engine.answer import Answer
from serve.engine.base import EngineError, FinishReason, GenRequest, ModelInfo
from serve.engine.sampling import BROKEN, Score

#: Most candidates a request may ask for (the contract's bound); vLLM's own default is 20.
MAX_CANDIDATES = 1000

#: The ranks that vLLM has kernels for (``MaxLoRARanks`` of vllm/config/lora.py).
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

_ENDS: dict[str, FinishReason] = {"stop": "eos", "length": "length"}


def engine_settings(
    model_dir: Path, config: ServeConfig, info: ModelInfo, ranks: Mapping[str, int]
) -> dict[str, Any]:
    """The arguments of ``AsyncEngineArgs``.

    Args:
        model_dir: the model's folder.
        config: the recipe's ``serve`` section.
        info: what the folder holds: its dtype is the stored one.
        ranks: of the adapters, by name.
    """
    # Left to itself, vLLM computes with half of the bits where float32 is stored.
    whole = config.dtype == "auto" and (info.dtype, info.quantization) == ("float32", "none")
    settings = {
        "model": str(model_dir),
        "dtype": "float32" if whole else config.dtype,
        "generation_config": "vllm",  # none of the model's own defaults
        "max_model_len": info.context + 1,  # a prompt that is only scored has one token generated
        "max_num_seqs": config.max_batch,
        # Prompts' tokens, and beside them one of each answer.
        "max_num_batched_tokens": config.prefill_tokens + config.max_batch,
        "enable_prefix_caching": True,
        "max_logprobs": MAX_CANDIDATES,
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
    }
    if ranks:
        widest = max(ranks.values())
        fitting = [rank for rank in LORA_RANKS if rank >= widest] or [widest]  # vLLM will refuse it
        settings |= {
            "enable_lora": True,
            "max_loras": len(ranks),
            "max_lora_rank": fitting[0],
        }
    return settings


def sampling_settings(
    request: GenRequest, eos_ids: frozenset[int], vocabulary: int
) -> dict[str, Any]:
    """The arguments of ``SamplingParams``.

    Args:
        request: what is asked.
        eos_ids: tokens that end an answer.
        vocabulary: number of the model's token ids.
    """
    from vllm.sampling_params import RequestOutputKind

    # vLLM would sample at 0.01 what is greedy here, and it refuses a top_p of 0.
    greedy = request.temperature <= GREEDY_TEMPERATURE or request.top_p == 0
    candidates = min(request.candidates, vocabulary)
    return {
        "temperature": 0.0 if greedy else request.temperature,
        "top_p": 1.0 if greedy else request.top_p,
        "top_k": 0 if greedy else min(max(0, request.top_k), vocabulary),
        "seed": None if request.seed is None else _signed(request.seed),
        "max_tokens": max(1, request.max_new_tokens),  # 0 is refused; the token is dropped
        "logprobs": candidates,
        "prompt_logprobs": candidates if request.echo else None,
        "min_tokens": request.min_tokens,
        "stop_token_ids": sorted(request.ending(eos_ids)),
        "ignore_eos": True,  # the tokenizer's: it is among ours
        "detokenize": False,  # texts and stops are ours, see Answer
        "output_kind": RequestOutputKind.DELTA,
    }


def _signed(seed: int) -> int:
    """A seed in 64 bits with a sign: more would end vLLM's process. -1 would mean no seed."""
    signed = (seed + 2**63) % 2**64 - 2**63
    return 2**63 - 1 if signed == -1 else signed


def answered(output: Any, request: GenRequest, answer: Answer) -> None:
    """Gives an answer what a ``RequestOutput`` of kind ``DELTA`` adds to it.

    Raises:
        EngineError: vLLM has ended the request otherwise than by EOS or length, or its logprobs are
            not numbers.
    """
    if output.prompt_logprobs:  # with the first output only
        answer.add_prompt(*prompt_scores(request, output.prompt_logprobs))
    [completion] = output.outputs
    for place, token in enumerate(completion.token_ids):
        if answer.finish_reason is None:
            answer.add(token, score(completion.logprobs[place], token, request.candidates))
    if output.finished and answer.finish_reason is None:
        if completion.finish_reason not in _ENDS:
            raise EngineError(f"vLLM has ended the request: {completion.finish_reason}")
        answer.finish_reason = _ENDS[completion.finish_reason]


def prompt_scores(request: GenRequest, places: Sequence[Any]) -> tuple[list[int], list[Score]]:
    """The prompt's tokens that belong to its text, and their scores.

    Args:
        request: what was asked.
        places: vLLM's ``prompt_logprobs``: one a token, the first of them None.
    """
    first = request.lead + 1  # nothing of the text precedes its first token: it has no score
    tokens = request.prompt[first:]
    scores = [
        score(place, token, request.candidates)
        for place, token in zip(places[first:], tokens, strict=True)
    ]
    text = list(request.prompt[request.lead :])
    return text, [Score(0.0, ())][: len(text)] + scores


def score(place: Mapping[int, Any], token: int, candidates: int) -> Score:
    """One place's score.

    Args:
        place: vLLM's ``Logprob`` by token: the token's own, and those of the likeliest.
        token: the token.
        candidates: how many of the likeliest to report.

    Raises:
        EngineError: logprobs are NaN.
    """
    if any(math.isnan(entry.logprob) for entry in place.values()):
        raise EngineError(BROKEN)
    best = sorted(
        (entry.rank, other, _clamped(entry.logprob))
        for other, entry in place.items()
        if entry.rank <= candidates
    )
    return Score(_clamped(place[token].logprob), tuple((other, value) for _, other, value in best))


def _clamped(logprob: float) -> float:
    return min(max(logprob, LOGPROB_FLOOR), 0.0)
