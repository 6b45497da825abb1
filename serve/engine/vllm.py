"""The engine ``vllm``: requests are handed to vLLM, which batches them on the card.

vLLM gives token ids and raw logprobs as they come. Detokenizing, stops, rules and the end are ours
(:class:`serve.engine.answer.Answer`), so every engine cuts an answer by the same code; a request
that has ended early is aborted.

Three things differ from the other engines. A temperature between 1e-5 and 0.01 samples at 0.01, and
one above 2 is refused. Sampled answers are repeatable, but not those of the other engines. The
counter of forward passes stays 0: vLLM's own process makes them.

vLLM pins its own torch and fastapi: it has an environment of its own, requirements/vllm.txt. What
is said of it here was read in version 0.32.0; it has not been run on a card yet.
"""

import asyncio
import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from serve.config import ServeConfig
from serve.engine.answer import Answer
from serve.engine.base import (
    DeadlineExceeded,
    EngineError,
    EngineStats,
    GenRequest,
    GenResult,
    ModelInfo,
)
from serve.engine.checks import check_request
from serve.engine.lora import read_config
from serve.engine.vllm_words import answered, engine_settings, sampling_settings
from serve.startup import StartError
from serve.text import TextCodec

log = logging.getLogger(__name__)

T = TypeVar("T")

DEAD = "the engine is dead: vLLM's process has ended"


class Vllm:
    """An :class:`serve.engine.base.Engine` over vLLM's ``AsyncLLM`` in an event loop of its own.

    Args:
        model_dir: a self-contained Hugging Face folder.
        config: the recipe's ``serve`` section.
        device: ``cuda`` or ``cuda:0``.

    Raises:
        StartError: vLLM is not installed, or settings that it cannot honour; all faults at once.
    """

    def __init__(self, model_dir: Path, config: ServeConfig, device: str) -> None:
        _check(config, device)
        folder = _read_folder(model_dir, config, device)
        self.text, self._eos_ids = folder.text, folder.eos_ids
        self.grammars = None  # ours choose tokens; here vLLM does
        self._vocabulary = folder.vocabulary
        self._loras: dict[str, Any] = {}
        self._stats = EngineStats()
        self._tasks: dict[str, asyncio.Task[Any] | None] = {}
        self._futures: dict[str, Future[GenResult]] = {}
        self._running: set[str] = set()  # those that have had their first token
        self._over: str | None = None
        self._gate = threading.Lock()  # nothing is taken once it is over
        self._beat = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._thread.start()
        try:
            self._llm: Any = self._wait(self._load(model_dir, config, folder))
        except BaseException:
            self._stop()
            raise
        self.info = replace(folder.info, dtype=_name(self._llm.model_config.dtype))
        cache = self._llm.vllm_config.cache_config
        size = (cache.num_gpu_blocks or 0) * (cache.block_size or 0)
        self._stats = EngineStats(cache_tokens=size)

    def submit(self, request: GenRequest) -> Future[GenResult]:
        """See :class:`serve.engine.base.Engine`."""
        try:
            check_request(request, self.info, self._vocabulary, self._loras)
            with self._gate:
                if self._over or self._llm.errored:
                    raise EngineError(self._over or DEAD)
                if not self._futures:  # the last beat is from before it was idle
                    self._beat = time.monotonic()
                future = asyncio.run_coroutine_threadsafe(self._answer(request), self._loop)
                self._futures[request.id] = future
        except EngineError as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda _: self._futures.pop(request.id, None))
        return future

    def cancel(self, request_id: str) -> None:
        """See :class:`serve.engine.base.Engine`."""
        future = self._futures.get(request_id)
        if future:
            future.cancel()  # cancels the task, too, and that aborts the request in vLLM

    def heartbeat(self) -> float:
        """See :class:`serve.engine.base.Engine`."""
        if self._over or self._llm.errored:
            return float("inf")
        return time.monotonic() - self._beat if self._futures else 0.0

    def stats(self) -> EngineStats:
        """See :class:`serve.engine.base.Engine`."""
        running = len(self._running)
        waiting = max(0, len(self._futures) - running)
        return replace(self._stats, running=running, waiting=waiting)

    def close(self) -> None:
        """See :class:`serve.engine.base.Engine`."""
        with self._gate:
            if self._over:
                return
            self._over = "the engine is closed"
        for request_id in list(self._futures):
            self.cancel(request_id)
        self._wait(self._shut_down())
        self._stop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something in the engine's loop, from outside of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # In the engine's loop, from here on.

    async def _load(self, model_dir: Path, config: ServeConfig, folder: "_Folder") -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        ranks = {name: _rank(Path(path)) for name, path in config.adapters.items()}
        settings = engine_settings(model_dir, config, folder.info, ranks)
        # Here, because AsyncLLM wants to be made in the loop that it will run in.
        llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))
        for number, (name, path) in enumerate(config.adapters.items(), start=1):
            self._loras[name] = LoRARequest(name, number, str(path))
            await llm.add_lora(self._loras[name])  # a bad one fails now, not its first request
        return llm

    async def _shut_down(self) -> None:
        tasks = [task for task in self._tasks.values() if task]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self._llm.shutdown()

    async def _answer(self, request: GenRequest) -> GenResult:
        """One request from beginning to end; only :class:`EngineError` leaves it."""
        self._tasks[request.id] = asyncio.current_task()
        # An event loop's clock is time.monotonic, as that of deadlines.
        until = None if request.deadline == float("inf") else request.deadline
        try:
            async with asyncio.timeout_at(until):
                return await self._generate(request)
        except TimeoutError:
            reason = "the deadline passed before the answer was complete"
            raise DeadlineExceeded(reason) from None
        except EngineError:
            raise
        except Exception as error:
            raise _translated(error, request.id) from None
        finally:
            self._running.discard(request.id)
            self._tasks.pop(request.id)

    async def _generate(self, request: GenRequest) -> GenResult:
        from vllm.sampling_params import SamplingParams

        answer = Answer(request, self.text, self._eos_ids)
        if answer.finish_reason and not (request.echo and request.prompt):
            return answer.result()
        settings = sampling_settings(request, self._eos_ids, self._vocabulary)
        outputs = self._llm.generate(
            {"prompt_token_ids": list(request.prompt)},
            SamplingParams(**settings),
            request.id,
            lora_request=self._loras[request.adapter] if request.adapter else None,
        )
        async with contextlib.aclosing(outputs):  # to close it early is to abort the request
            async for output in outputs:
                self._note(request, output)
                answered(output, request, answer)
                if answer.finish_reason and not output.finished:
                    break
        return answer.result()

    def _note(self, request: GenRequest, output: Any) -> None:
        """Progress and counters."""
        self._beat = time.monotonic()
        stats = self._stats
        new = len(output.outputs[0].token_ids) if request.max_new_tokens else 0
        stats = replace(stats, new_tokens=stats.new_tokens + new)
        if request.id not in self._running:
            self._running.add(request.id)
            reused = output.num_cached_tokens or 0
            stats = replace(
                stats,
                prompt_tokens=stats.prompt_tokens + len(request.prompt),
                reused_tokens=stats.reused_tokens + reused,
                prefix_hits=stats.prefix_hits + (reused > 0),
            )
        self._stats = stats


def _translated(error: Exception, request_id: str) -> EngineError:
    """What a client may be told of an exception of vLLM's."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError

    if isinstance(error, VLLMClientError):
        return EngineError(f"vLLM refuses the request: {error}")
    log.error("request %s failed in the engine", request_id, exc_info=error)
    if isinstance(error, EngineDeadError):
        return EngineError(DEAD)
    return EngineError(f"the model failed: {type(error).__name__}")


def _check(config: ServeConfig, device: str) -> None:
    """Refuses what vLLM cannot do; sets its switches, which it reads from the environment."""
    faults = []
    if device == "cpu":
        faults.append("engine = 'vllm' needs a GPU: start with --device cuda")
    if config.cache_tokens:
        faults.append(
            f"cache_tokens = {config.cache_tokens}: vLLM sizes its cache by the card's memory;"
            " set it to 0"
        )
    if config.deterministic:
        os.environ["VLLM_BATCH_INVARIANT"] = "1"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # else it reports to its makers
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork would copy our threads' locks
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        faults.append(
            f"engine = 'vllm' cannot be imported ({error}): pip install -r requirements/vllm.txt in"
            " an environment of its own, or set engine to 'transformers'"
        )
    if faults:
        raise StartError(*faults)


def _rank(folder: Path) -> int:
    """The largest rank of an adapter's matrices."""
    config = read_config(folder)
    return int(max([config["r"], *(config.get("rank_pattern") or {}).values()]))


@dataclass(frozen=True)
class _Folder:
    """What a model folder says, besides its weights."""

    text: TextCodec
    eos_ids: frozenset[int]
    vocabulary: int
    info: ModelInfo


def _read_folder(model_dir: Path, config: ServeConfig, device: str) -> _Folder:
    """Reads a model folder as :func:`serve.engine.loading.load_model`, but for the weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    model = AutoConfig.from_pretrained(model_dir)
    text = TextCodec.load(model_dir)
    if (model_dir / "generation_config.json").is_file():
        generation = GenerationConfig.from_pretrained(model_dir)
    else:
        generation = GenerationConfig.from_model_config(model)
    listed = generation.eos_token_id
    ends = [*(listed if isinstance(listed, list) else [listed]), text.eos_id]
    with torch.device("meta"):
        parameters = AutoModelForCausalLM.from_config(model).num_parameters()
    stored = getattr(model, "quantization_config", None) or {}
    info = ModelInfo(
        name=model_dir.resolve().name,
        engine="vllm",
        device=device,
        dtype=_name(model.dtype),
        quantization=stored.get("quant_method", "none"),
        parameters=parameters,
        context=min(config.context, _limit(model_dir, model) - 1),
    )
    eos_ids = frozenset(i for i in ends if i is not None and i < model.vocab_size)
    return _Folder(text, eos_ids, model.vocab_size, info)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _limit(model_dir: Path, model: Any) -> int:
    """Most tokens that vLLM lets the model see.

    A prompt that is only scored takes one more in vLLM, because it generates a token all the same.
    """
    path = model_dir / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    limits = [getattr(model, "max_position_embeddings", None), tokenizer.get("model_max_length")]
    return int(min([limit for limit in limits if limit], default=2**31))
