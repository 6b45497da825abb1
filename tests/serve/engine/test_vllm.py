"""The translation to vLLM and back, on a stand-in that is strict about what it is asked.

With ONEDAY_TEST_VLLM=1, a card and vLLM installed, the same questions go to vLLM itself.
"""

import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from serve.config import ServeConfig
from serve.engine.base import DeadlineExceeded, Engine, EngineError, GenRequest, GenResult
from serve.engine.hf_dynamic import HfDynamic
from serve.engine.loading import load_model
from serve.engine.vllm import Vllm
from serve.startup import StartError
from tests.serve.conftest import byte_level_tokenizer, save_model
from tests.serve.engine import fake_vllm
from tests.serve.engine.fake_vllm import AsyncLLM

CONTEXT = 128


@pytest.fixture
def build(
    monkeypatch: pytest.MonkeyPatch, model_dirs: dict[str, Path]
) -> Iterator[Callable[..., Vllm]]:
    """Builds engines on the stand-in."""
    built: list[Vllm] = []
    fake_vllm.install(monkeypatch)
    for name in ("VLLM_BATCH_INVARIANT", "VLLM_NO_USAGE_STATS", "VLLM_WORKER_MULTIPROC_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # to be put back afterwards

    def make(kind: str = "byte_level", **settings: Any) -> Vllm:
        config = ServeConfig(**{"context": CONTEXT} | settings)
        built.append(Vllm(model_dirs[kind], config, "cuda"))
        return built[-1]

    yield make
    for engine in built:
        engine.close()


@pytest.fixture(scope="module")
def plain(model_dirs: dict[str, Path]) -> Iterator[HfDynamic]:
    """The same model in an engine that is held against transformers elsewhere."""
    engine = HfDynamic(load_model(model_dirs["byte_level"], ServeConfig(context=CONTEXT), "cpu"))
    yield engine
    engine.close()


def ask(engine: Engine, prompt: tuple[int, ...] = (7, 8, 9), **options: Any) -> GenResult:
    return engine.submit(GenRequest("t", prompt, **options)).result(timeout=60)


def parameters(name: str = "t") -> Any:
    return AsyncLLM.made.seen[name][0]


def questions(count: int) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    numbers = random.Random(1)
    for place in range(count):
        prompt = tuple(numbers.randrange(2, 390) for _ in range(numbers.choice([1, 2, 20, 90])))
        options = {"max_new_tokens": numbers.choice([0, 1, 24]), "candidates": place % 4}
        yield prompt, options | {"echo": place % 2 == 0, "lead": int(place % 3 == 0)}


def same(one: GenResult, other: GenResult, tolerance: float) -> None:
    assert one.finish_reason == other.finish_reason
    for ours, theirs in ((one.tokens, other.tokens), (one.prompt, other.prompt)):
        assert [(t.id, t.text) for t in ours] == [(t.id, t.text) for t in theirs]
        for token, expected in zip(ours, theirs, strict=True):
            assert token.logprob == pytest.approx(expected.logprob, abs=tolerance)
            assert [text for text, _ in token.candidates] == [t for t, _ in expected.candidates]
            values = [[value for _, value in t.candidates] for t in (token, expected)]
            assert values[0] == pytest.approx(values[1], abs=tolerance)


@pytest.mark.parametrize("group", [1, 5])
def test_answers_are_those_of_the_other_engines(
    build: Callable[..., Vllm], plain: HfDynamic, group: int
) -> None:
    """Tokens, scores of prompt and completion, candidates, ends; also from merged outputs."""
    engine = build()
    AsyncLLM.made.group = group
    for prompt, options in questions(20):
        same(ask(engine, prompt, **options), ask(plain, prompt, **options), 1e-4)


def test_engine_arguments(build: Callable[..., Vllm], model_dirs: dict[str, Path]) -> None:
    engine = build(max_batch=7, prefill_tokens=100)
    assert AsyncLLM.made.args == {
        "model": str(model_dirs["byte_level"]),
        "dtype": "float32",
        "generation_config": "vllm",
        "max_model_len": CONTEXT + 1,
        "max_num_seqs": 7,
        "max_num_batched_tokens": 107,
        "enable_prefix_caching": True,
        "max_logprobs": 1000,
        "logprobs_mode": "raw_logprobs",
        "disable_log_stats": True,
    }
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert not os.environ["VLLM_BATCH_INVARIANT"]
    info = engine.info
    assert (info.name, info.engine, info.device) == ("byte_level", "vllm", "cuda")
    assert (info.dtype, info.quantization, info.context) == ("float32", "none", CONTEXT)
    model = AutoModelForCausalLM.from_pretrained(model_dirs["byte_level"])
    assert info.parameters == model.num_parameters()
    assert engine.stats().cache_tokens == 1600
    build(dtype="bfloat16", deterministic=True)
    assert AsyncLLM.made.args["dtype"] == "bfloat16"
    assert os.environ["VLLM_BATCH_INVARIANT"] == "1"


def test_the_models_limit_bounds_the_context(build: Callable[..., Vllm]) -> None:
    """One token less than the model's, for the one that vLLM generates after a scored prompt."""
    engine = build(context=5000)
    assert (engine.info.context, AsyncLLM.made.args["max_model_len"]) == (1023, 1024)
    engine.close()
    full = build(context=CONTEXT)
    result = ask(full, tuple(range(5, 5 + CONTEXT)), max_new_tokens=0, echo=True)
    assert (len(result.prompt), result.tokens) == (CONTEXT, ())


def test_a_request_in_vllms_words(build: Callable[..., Vllm]) -> None:
    engine = build()
    options: dict[str, Any] = {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "seed": 5,
        "candidates": 3,
    }
    ask(engine, **options, stops=("x",), max_new_tokens=4)
    sent = parameters()
    assert (sent.temperature, sent.top_p, sent.top_k, sent.seed) == (0.7, 0.9, 40, 5)
    assert (sent.max_tokens, sent.logprobs, sent.prompt_logprobs) == (4, 3, None)
    assert (sent.stop, sent.stop_token_ids, sent.ignore_eos) == ([], [1], True)
    ask(engine, echo=True, max_new_tokens=0, candidates=2)
    assert (parameters().max_tokens, parameters().prompt_logprobs) == (1, 2)
    ask(engine, candidates=1000, max_new_tokens=1)
    assert parameters().logprobs == engine._vocabulary


@pytest.mark.parametrize("options", [{"temperature": 1e-5}, {"temperature": 1.0, "top_p": 0.0}])
def test_greedy(build: Callable[..., Vllm], options: dict[str, Any]) -> None:
    """Below 0.01 vLLM would sample, and it refuses a top_p of 0."""
    ask(build(), **options, top_k=5, max_new_tokens=1)
    assert (parameters().temperature, parameters().top_p, parameters().top_k) == (0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("seed", "sent"),
    [(None, None), (0, 0), (-2, -2), (2**64 - 2, -2), (2**63, -(2**63)), (-1, 2**63 - 1)],
)
def test_seeds_fit_into_64_bits_with_a_sign(
    build: Callable[..., Vllm], seed: int | None, sent: int | None
) -> None:
    """A larger one would end vLLM's process, and -1 would be no seed."""
    ask(build(), temperature=1.0, seed=seed, max_new_tokens=1)
    assert parameters().seed == sent


def test_limits_on_top_k(build: Callable[..., Vllm]) -> None:
    engine = build()
    for asked, sent in ((-1, 0), (10**9, engine._vocabulary)):
        ask(engine, temperature=1.0, top_k=asked, max_new_tokens=1)
        assert parameters().top_k == sent


def test_what_vllm_refuses_is_said(build: Callable[..., Vllm]) -> None:
    with pytest.raises(EngineError, match="vLLM refuses the request: temperature must be"):
        ask(build(), temperature=3.0)
    with pytest.raises(EngineError, match="128"):
        ask(build(), max_new_tokens=CONTEXT)


def test_a_stop_over_tokens_aborts_the_request(
    build: Callable[..., Vllm], plain: HfDynamic
) -> None:
    engine = build("endless")
    text = "".join(token.text for token in ask(engine, max_new_tokens=40).tokens)
    assert not AsyncLLM.made.aborted
    stop = text[9:14]
    result = ask(engine, max_new_tokens=100, stops=(stop,))
    assert "".join(token.text for token in result.tokens) == text[: text.index(stop)]
    assert result.finish_reason == "stop"
    assert AsyncLLM.made.aborted == ["t"]
    ask(engine, max_new_tokens=100, enough=lambda text: len(text) > 3)
    assert AsyncLLM.made.aborted == ["t", "t"]


def test_adapters(build: Callable[..., Vllm], model_dirs: dict[str, Path], tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(model_dirs["byte_level"])
    ranks = {"r": 4, "rank_pattern": {"v_proj": 20}, "target_modules": ["q_proj", "v_proj"]}
    peft.get_peft_model(base, peft.LoraConfig(**ranks)).save_pretrained(tmp_path)
    engine = build(adapters={"math": str(tmp_path), "code": str(tmp_path)})
    fake = AsyncLLM.made
    settings = [fake.args[name] for name in ("enable_lora", "max_loras", "max_lora_rank")]
    assert settings == [True, 2, 32]
    assert [lora.lora_int_id for lora in fake.loras] == [1, 2]
    ask(engine, adapter="code", max_new_tokens=1)
    assert fake.seen["t"][1] == fake_vllm.LoRARequest("code", 2, str(tmp_path))
    ask(engine, max_new_tokens=1)
    assert fake.seen["t"][1] is None
    with pytest.raises(EngineError, match="no adapter named 'x'"):
        ask(engine, adapter="x")


def test_cancel_and_deadline_abort(build: Callable[..., Vllm]) -> None:
    engine = build()
    AsyncLLM.made.hang = True
    time.sleep(0.3)
    start = time.monotonic()
    late = engine.submit(GenRequest("late", (5,), deadline=start + 0.2))
    running = engine.submit(GenRequest("running", (5,)))
    assert engine.stats().waiting == 2
    assert engine.heartbeat() < 0.2, "idle time is not counted"
    with pytest.raises(DeadlineExceeded):
        late.result(timeout=10)
    assert 0.1 < engine.heartbeat() < 10
    engine.cancel("running")
    engine.cancel("unknown")
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    while len(AsyncLLM.made.aborted) < 2 and time.monotonic() < start + 10:
        time.sleep(0.01)
    assert AsyncLLM.made.aborted == ["late", "running"]
    AsyncLLM.made.hang = False
    assert ask(engine, max_new_tokens=2).finish_reason == "length"
    assert engine.heartbeat() == 0.0
    assert engine.stats().waiting == engine.stats().running == 0


def test_counters(build: Callable[..., Vllm]) -> None:
    engine = build("endless")
    ask(engine, tuple(range(5, 45)), max_new_tokens=3)
    ask(engine, (5,), max_new_tokens=0, echo=True)
    stats = engine.stats()
    assert (stats.prompt_tokens, stats.new_tokens) == (41, 3)
    assert (stats.reused_tokens, stats.prefix_hits) == (32, 1)


def test_an_error_stays_with_its_request(build: Callable[..., Vllm]) -> None:
    engine = build("endless")
    AsyncLLM.made.fault = RuntimeError("secret")
    with pytest.raises(EngineError, match=r"^the model failed: EngineGenerateError$"):
        ask(engine)
    AsyncLLM.made.fault, AsyncLLM.made.end = None, "abort"
    with pytest.raises(EngineError, match="vLLM has ended the request: abort"):
        ask(engine)
    AsyncLLM.made.end = None
    assert len(ask(engine, max_new_tokens=4).tokens) == 4


def test_logprobs_that_are_not_numbers(build: Callable[..., Vllm]) -> None:
    engine = build()
    with torch.no_grad():
        AsyncLLM.made.model.lm_head.weight[3] = float("nan")
    with pytest.raises(EngineError, match="NaN"):
        ask(engine)


def test_the_death_of_vllms_process(build: Callable[..., Vllm]) -> None:
    engine = build("endless")
    AsyncLLM.made.fault = fake_vllm.EngineDeadError()
    with pytest.raises(EngineError, match="the engine is dead"):
        ask(engine)
    AsyncLLM.made.errored = True
    assert engine.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="the engine is dead"):
        ask(engine)


def test_close(build: Callable[..., Vllm]) -> None:
    engine = build()
    AsyncLLM.made.hang = True
    running = engine.submit(GenRequest("r", (5,)))
    while "r" not in AsyncLLM.made.seen:
        time.sleep(0.001)
    engine.close()
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    assert AsyncLLM.made.ended
    assert AsyncLLM.made.aborted == ["r"]
    assert engine.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="closed"):
        ask(engine)


def test_settings_that_vllm_cannot_honour(
    monkeypatch: pytest.MonkeyPatch, model_dirs: dict[str, Path]
) -> None:
    """All at once, and with the remedy."""
    monkeypatch.setitem(sys.modules, "vllm", None)  # cannot be imported
    with pytest.raises(StartError) as caught:
        Vllm(model_dirs["byte_level"], ServeConfig(cache_tokens=5), "cpu")
    device, cache, missing = caught.value.faults
    assert "--device cuda" in device
    assert "cache_tokens = 5" in cache
    assert "pip install -r requirements/vllm.txt" in missing


def real_vllm() -> str | None:
    """Why vLLM itself is not asked, or None."""
    if os.environ.get("ONEDAY_TEST_VLLM") != "1":
        return "ONEDAY_TEST_VLLM=1 is not set: vLLM itself is not asked"
    if not torch.cuda.is_available() or importlib.util.find_spec("vllm") is None:
        return "no card, or vLLM is not installed: pip install -r requirements/vllm.txt"
    return None


@pytest.mark.skipif(real_vllm() is not None, reason=str(real_vllm()))
def test_vllm_itself(tmp_path: Path) -> None:
    """Heads of 64 numbers, which all of its attention kernels take; in float32."""
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4}
    folder = save_model(tmp_path, byte_level_tokenizer(), **sizes, initializer_range=0.1)
    config = ServeConfig(context=CONTEXT)
    plain = HfDynamic(load_model(folder, config, "cuda"))
    expected = [ask(plain, prompt, **options) for prompt, options in questions(20)]
    plain.close()
    engine = Vllm(folder, config, "cuda")
    for (prompt, options), result in zip(questions(20), expected, strict=True):
        same(ask(engine, prompt, **options), result, 1e-3)
    engine.close()
