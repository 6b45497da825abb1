"""A stand-in for vLLM 0.32.0: its signatures and the shape of its outputs, over a plain model.

Copied from its sources: the names of all fields (an unknown argument raises), the checks of
``SamplingParams``, when a request stops, how outputs of kind DELTA arrive, and what closing the
generator of a request does. Not copied: anything that computes.
"""

import asyncio
import dataclasses
import sys
import types
from collections.abc import AsyncGenerator, Mapping
from enum import Enum
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

PARAMETERS = """n presence_penalty frequency_penalty repetition_penalty temperature watermarking
top_p top_k min_p seed stop stop_token_ids ignore_eos max_tokens min_tokens logprobs prompt_logprobs
prompt_logprob_token_ids prompt_logprob_start logprob_token_ids flat_logprobs detokenize
skip_special_tokens spaces_between_special_tokens include_stop_str_in_output output_kind
stream_interval skip_clone structured_outputs logit_bias allowed_token_ids extra_args bad_words
skip_reading_prefix_cache thinking_token_budget repetition_detection routed_experts_prompt_start
trace_decode_token_ids""".split()

#: Of the 257 fields of AsyncEngineArgs, those this project might set.
ARGUMENTS = """model tokenizer skip_tokenizer_init trust_remote_code dtype seed max_model_len
gpu_memory_utilization kv_cache_memory_bytes num_gpu_blocks_override block_size
enable_prefix_caching enable_chunked_prefill max_num_batched_tokens max_num_seqs max_logprobs
logprobs_mode disable_log_stats enable_log_requests quantization enforce_eager enable_lora max_loras
max_lora_rank max_cpu_loras generation_config load_format""".split()


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class VLLMClientError(Exception):
    pass


class VLLMValidationError(VLLMClientError):
    pass


class EngineGenerateError(Exception):
    pass


class EngineDeadError(Exception):
    pass


def strict(known: list[str], given: dict[str, Any]) -> None:
    unknown = set(given) - set(known)
    if unknown:
        raise TypeError(f"unexpected keyword arguments {unknown}")


class SamplingParams:
    """With the defaults of the fields that are read here, and the checks of __post_init__."""

    def __init__(self, **given: Any) -> None:
        strict(PARAMETERS, given)
        self.temperature, self.top_p, self.top_k, self.max_tokens = 1.0, 1.0, 0, 16
        self.seed: int | None = None
        self.logprobs: int | None = None
        self.prompt_logprobs: int | None = None
        self.stop: list[str] = []
        self.stop_token_ids: list[int] = []
        self.ignore_eos, self.detokenize = False, True
        self.output_kind = RequestOutputKind.CUMULATIVE
        self.__dict__.update(given)
        if 0 < self.temperature < 0.01:
            self.temperature = 0.01
        if self.seed == -1:
            self.seed = None
        checks = {
            "temperature": 0 <= self.temperature <= 2,
            "top_p": 0 < self.top_p <= 1,
            "top_k": self.top_k >= -1,
            "max_tokens": self.max_tokens >= 1,
            "logprobs": self.logprobs is None or self.logprobs >= -1,
            "stop": not self.stop or self.detokenize,
        }
        for name, holds in checks.items():
            if not holds:
                raise VLLMValidationError(f"{name} must be otherwise, got {given.get(name)}.")


class AsyncEngineArgs:
    def __init__(self, **given: Any) -> None:
        strict(ARGUMENTS, given)
        self.given = given


@dataclasses.dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""


@dataclasses.dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclasses.dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


@dataclasses.dataclass
class RequestOutput:
    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: list[dict[int, Logprob] | None] | None
    outputs: list[CompletionOutput]
    finished: bool
    num_cached_tokens: int | None = None


def place(logits: torch.Tensor, token: int, count: int) -> dict[int, Logprob]:
    """As Sampler.gather_logprobs and append_logprobs_for_next_position: the token's own first."""
    logprobs = logits.float().log_softmax(-1)
    rank = int((logprobs >= logprobs[token]).sum())
    entry = {token: Logprob(float(logprobs[token]), rank)}
    best = logprobs.topk(count)
    for rank, (value, other) in enumerate(zip(*map(torch.Tensor.tolist, best), strict=True), 1):
        entry[other] = Logprob(value, rank)
    return entry


class AsyncLLM:
    """Greedy only: of a sampled request it keeps what it was asked and gives the likeliest token.

    Attributes:
        made: the latest one.
        seen: parameters and adapters of the requests, by id.
        aborted: ids of the requests that were closed early.
        group: tokens given at once, as the collector merges outputs that nobody has fetched yet.
        fault: raised by requests after their first output.
        hang: whether requests never get a first output.
    """

    made: "AsyncLLM"

    def __init__(self, args: AsyncEngineArgs) -> None:
        self.args, self.errored, self.group = args.given, False, 1
        self.fault: BaseException | None = None
        self.hang = self.ended = False
        self.end: str | None = None  # how vLLM ends requests by itself
        self.seen: dict[str, tuple[SamplingParams, LoRARequest | None]] = {}
        self.aborted: list[str] = []
        self.loras: list[LoRARequest] = []
        asyncio.get_running_loop()  # the output handler is started from a running loop
        self.model = AutoModelForCausalLM.from_pretrained(args.given["model"], dtype=torch.float32)
        self.model_config = types.SimpleNamespace(dtype=torch.float32)
        cache = types.SimpleNamespace(num_gpu_blocks=100, block_size=16)
        self.vllm_config = types.SimpleNamespace(cache_config=cache)
        AsyncLLM.made = self

    @classmethod
    def from_engine_args(cls, engine_args: AsyncEngineArgs) -> "AsyncLLM":
        return cls(engine_args)

    async def add_lora(self, lora_request: LoRARequest) -> bool:
        self.loras.append(lora_request)
        return True

    def shutdown(self, timeout: float | None = None) -> None:
        self.ended = self.errored = True

    async def generate(
        self,
        prompt: Mapping[str, Any],
        sampling_params: SamplingParams,
        request_id: str,
        *,
        prompt_text: str | None = None,
        lora_request: LoRARequest | None = None,
        priority: int = 0,
    ) -> AsyncGenerator[RequestOutput, None]:
        try:
            if self.errored:
                raise EngineDeadError
            ids = list(prompt["prompt_token_ids"])
            if not 0 < len(ids) < self.args["max_model_len"]:
                raise VLLMValidationError(f"The decoder prompt (length {len(ids)}) is too long")
            if max(sampling_params.logprobs or 0, 0) > self.args["max_logprobs"]:
                raise VLLMValidationError("Requested sample logprobs greater than max allowed")
            self.seen[request_id] = sampling_params, lora_request
            async for output in self._outputs(ids, sampling_params, request_id):
                yield output
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted.append(request_id)
            raise
        except (EngineDeadError, VLLMClientError):
            raise
        except Exception as error:
            self.aborted.append(request_id)
            raise EngineGenerateError from error

    async def _outputs(
        self, ids: list[int], params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput, None]:
        assert params.output_kind == RequestOutputKind.DELTA
        while self.hang:
            await asyncio.sleep(0.01)
        prompt = self._prompt_logprobs(ids, params)
        tokens: list[int] = []
        places: list[dict[int, Logprob]] = []
        end: str | None = None
        while end is None:
            await asyncio.sleep(0)
            logits = self._logits([*ids, *tokens])[-1]
            tokens.append(int(logits.argmax()))
            places.append(place(logits, tokens[-1], params.logprobs or 0))
            end = self.end or self._stop(tokens, ids, params)
            if end or len(tokens) % self.group == 0:
                new = len(tokens) % self.group or self.group
                completion = CompletionOutput(0, "", tokens[-new:], None, places[-new:], end)
                arguments = (ids, prompt, [completion], bool(end), len(ids) // 16 * 16)
                yield RequestOutput(request_id, None, *arguments)
                prompt = prompt and []  # popped: later outputs have an empty list
                if self.fault:
                    raise self.fault

    def _stop(self, tokens: list[int], ids: list[int], params: SamplingParams) -> str | None:
        """As check_stop of the scheduler; the stop token is among the output's."""
        if tokens[-1] in params.stop_token_ids:
            return "stop"
        full = len(ids) + len(tokens) >= self.args["max_model_len"]
        return "length" if full or len(tokens) >= params.max_tokens else None

    def _prompt_logprobs(
        self, ids: list[int], params: SamplingParams
    ) -> list[dict[int, Logprob] | None] | None:
        if params.prompt_logprobs is None:
            return None
        rows = self._logits(ids)
        later = [place(row, token, params.prompt_logprobs) for row, token in zip(rows, ids[1:])]  # noqa: B905
        return [None, *later]

    @torch.inference_mode()
    def _logits(self, ids: list[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(torch.tensor([ids])).logits[0]
        return logits


def install(patch: pytest.MonkeyPatch) -> None:
    """Puts the stand-in where ``import vllm`` finds it."""
    contents: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": AsyncEngineArgs},
        "vllm.exceptions": {"VLLMClientError": VLLMClientError},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.sampling_params": {
            "RequestOutputKind": RequestOutputKind,
            "SamplingParams": SamplingParams,
        },
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
        "vllm.v1.engine.exceptions": {"EngineDeadError": EngineDeadError},
    }
    for name, attributes in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        patch.setitem(sys.modules, name, module)
