"""The engine against plain forward passes and Hugging Face's own generate."""

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import bitsandbytes
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from serve.config import ServeConfig
from serve.engine.base import DeadlineExceeded, EngineError, GenRequest, GenResult
from serve.engine.hf_dynamic import PREFILL_CHUNK, HfDynamic
from serve.engine.loading import load_model, thread_count
from serve.engine.lora import attach

PROMPT = "The capital of France is"


def build(model_dir: Path, context: int = 512) -> HfDynamic:
    return HfDynamic(load_model(model_dir, ServeConfig(context=context), "cpu"))


@pytest.fixture(scope="module")
def engine(model_dirs: dict[str, Path]) -> Iterator[HfDynamic]:
    """An engine on the byte-level model."""
    built = build(model_dirs["byte_level"])
    yield built
    built.close()


@pytest.fixture
def ask(engine: HfDynamic) -> Callable[..., GenResult]:
    """Asks the engine and waits."""

    def run(prompt: str = PROMPT, **options: Any) -> GenResult:
        tokens = engine.text.encode_prompt(prompt)
        request = GenRequest("t", tokens.ids, tokens.lead, **options)
        return engine.submit(request).result(timeout=60)

    return run


@pytest.fixture(scope="module")
def plain(model_dirs: dict[str, Path]) -> Any:
    """The same model, driven by Hugging Face code."""
    return AutoModelForCausalLM.from_pretrained(
        model_dirs["byte_level"], dtype=torch.float32
    ).eval()


def endless(model_dirs: dict[str, Path]) -> HfDynamic:
    """An engine on a model without EOS: its requests run until something ends them."""
    return build(model_dirs["endless"], context=8192)


@torch.inference_mode()
def logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    """``[len(ids), vocabulary]``: row i is the distribution after token i."""
    return model(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def text_of(result: GenResult) -> str:
    return "".join(token.text for token in result.tokens)


def test_greedy_is_generate(ask: Callable[..., GenResult], plain: Any, engine: HfDynamic) -> None:
    for prompt in (PROMPT, "A. 3\nB. 4\nAnswer:", "x"):
        ids = engine.text.encode(prompt)
        expected = plain.generate(
            torch.tensor([ids]), max_new_tokens=40, do_sample=False, pad_token_id=0
        )[0, len(ids) :].tolist()
        result = ask(prompt, max_new_tokens=40)
        assert [token.id for token in result.tokens] == [t for t in expected if t != 1]
        assert result.finish_reason == ("eos" if 1 in expected else "length")


def test_logprobs_are_those_of_a_plain_forward(
    ask: Callable[..., GenResult], plain: Any, engine: HfDynamic
) -> None:
    """Prompt longer than a chunk, echoed, then sampled tokens at a high temperature."""
    prompt = "The capital of Italy is Rome. " * 40
    ids = engine.text.encode(prompt)
    assert len(ids) > PREFILL_CHUNK
    result = ask(prompt, max_new_tokens=8, temperature=2.0, seed=3, echo=True, candidates=3)
    tokens = [*result.prompt, *result.tokens]
    assert [token.id for token in result.prompt] == ids
    assert "".join(token.text for token in tokens).startswith(prompt)
    assert (tokens[0].logprob, tokens[0].candidates) == (0.0, ())
    expected = logprobs(plain, [token.id for token in tokens])
    for place in range(1, len(tokens)):
        row = expected[place - 1]
        assert tokens[place].logprob == pytest.approx(float(row[tokens[place].id]), abs=2e-4)
        best = [value for _, value in tokens[place].candidates]
        assert best == pytest.approx(row.topk(3).values.tolist(), abs=2e-4)


def test_scoring_generates_nothing(ask: Callable[..., GenResult], engine: HfDynamic) -> None:
    result = ask(max_new_tokens=0, echo=True)
    assert len(result.prompt) == len(engine.text.encode(PROMPT))
    assert (result.tokens, result.finish_reason) == ((), "length")
    assert ask(max_new_tokens=0) == GenResult((), "length")


def test_bos_is_fed_but_not_echoed(model_dirs: dict[str, Path]) -> None:
    bos_engine = build(model_dirs["prepend"])
    prompt = bos_engine.text.encode_prompt("The capital")
    request = GenRequest("b", prompt.ids, prompt.lead, max_new_tokens=0, echo=True)
    result = bos_engine.submit(request).result(timeout=60)
    bos_engine.close()
    assert "".join(token.text for token in result.prompt) == "The capital"
    assert tuple(token.id for token in result.prompt) == prompt.ids[1:]
    model = AutoModelForCausalLM.from_pretrained(model_dirs["prepend"], dtype=torch.float32)
    expected = logprobs(model, list(prompt.ids))
    assert result.prompt[0].logprob == 0.0
    assert result.prompt[1].logprob == pytest.approx(float(expected[1, prompt.ids[2]]), abs=2e-4)


def test_echo_of_nothing(ask: Callable[..., GenResult]) -> None:
    result = ask("", max_new_tokens=3, echo=True)
    assert (result.prompt, len(result.tokens)) == ((), 3)


def test_stop_across_and_inside_tokens(ask: Callable[..., GenResult]) -> None:
    """Every substring of a long text as a stop: text and tokens are cut exactly before it."""
    whole = ask(max_new_tokens=30)
    text = text_of(whole)
    inside = 0
    for start in range(0, len(text) - 4, 3):
        stop = text[start : start + 4]
        result = ask(max_new_tokens=30, stops=(stop, "never there"))
        assert text_of(result) == text[: text.index(stop)]
        assert result.finish_reason == "stop"
        for kept, token in zip(result.tokens, whole.tokens, strict=False):
            assert token.text.startswith(kept.text)
            assert kept.logprob == pytest.approx(token.logprob, abs=1e-5)
            inside += kept.text != token.text
    assert inside > 0, "no stop started inside a token: the test shows too little"


def test_eos_ends_the_answer_and_is_not_in_it(
    model_dirs: dict[str, Path], tmp_path: Path, ask: Callable[..., GenResult]
) -> None:
    """The third greedy token is declared EOS in generation_config, beside another one."""
    free = ask(max_new_tokens=10)
    eos = free.tokens[2].id
    assert eos not in [token.id for token in free.tokens[:2]]
    model = AutoModelForCausalLM.from_pretrained(model_dirs["byte_level"])
    model.generation_config.eos_token_id = [0, eos]
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((model_dirs["byte_level"] / name).read_bytes())
    ended = build(tmp_path)
    request = GenRequest("e", tuple(ended.text.encode(PROMPT)), max_new_tokens=10)
    result = ended.submit(request).result(timeout=60)
    ended.close()
    assert (result.tokens, result.finish_reason) == (free.tokens[:2], "eos")


def test_seed_repeats_and_differs(ask: Callable[..., GenResult]) -> None:
    def sample(seed: int | None) -> str:
        return text_of(ask(max_new_tokens=20, temperature=1.0, seed=seed))

    assert sample(7) == sample(7)
    assert sample(-1) == sample(2**64 - 1)
    assert len({sample(seed) for seed in range(5)}) > 1
    assert sample(None) != sample(None)


def test_cancel_of_a_running_and_of_a_waiting_request(model_dirs: dict[str, Path]) -> None:
    engine = endless(model_dirs)
    long = engine.submit(GenRequest("long", (5,), max_new_tokens=8000))
    waiting = engine.submit(GenRequest("waiting", (5,)))
    while not long.running():
        time.sleep(0.001)
    assert 0.0 <= engine.heartbeat() < 10.0
    for request_id in ("waiting", "long", "unknown"):
        engine.cancel(request_id)
    for future in (waiting, long):
        with pytest.raises(CancelledError):
            future.result(timeout=10)
    engine.submit(GenRequest("next", (5,), max_new_tokens=1)).result(timeout=10)
    engine.close()


def test_deadline(model_dirs: dict[str, Path]) -> None:
    engine = endless(model_dirs)
    start = time.monotonic()
    request = GenRequest("late", (5,), max_new_tokens=8000, deadline=start + 0.2)
    with pytest.raises(DeadlineExceeded):
        engine.submit(request).result(timeout=10)
    assert 0.2 <= time.monotonic() - start < 5
    engine.close()


def test_enough_ends_an_answer(ask: Callable[..., GenResult]) -> None:
    """Asked after each token with the text so far."""
    whole, seen = ask(max_new_tokens=20), []

    def enough(text: str) -> bool:
        seen.append(text)
        return len(seen) == 4

    result = ask(max_new_tokens=20, enough=enough)
    assert (result.tokens, result.finish_reason) == (whole.tokens[:4], "stop")
    assert seen[-1] == text_of(result)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"prompt": (10**6,)}, "token 1000000 is not in the model's vocabulary"),
        ({"prompt": (5, -1)}, "token -1 is not in"),
        ({"prompt": ()}, "nothing to start from"),
        ({"prompt": (5,), "max_new_tokens": 512}, "513 tokens are more than the context of 512"),
        ({"prompt": (5,), "adapter": "math"}, "no adapter named 'math'"),
    ],
)
def test_what_the_model_would_fail_on_is_refused(
    engine: HfDynamic, options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(EngineError, match=fault):
        engine.submit(GenRequest("bad", **options)).result(timeout=60)
    assert engine.stats().waiting == 0


def test_an_adapter_answers_its_own_requests(model_dirs: dict[str, Path], tmp_path: Path) -> None:
    """Two requests of one engine; each as PEFT or the model itself would answer."""
    loaded = load_model(model_dirs["byte_level"], ServeConfig(), "cpu")
    base = AutoModelForCausalLM.from_pretrained(model_dirs["byte_level"], dtype=torch.float32)
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(base, settings).eval()
    adapted.save_pretrained(tmp_path)
    adapters = attach(loaded.model, {"math": tmp_path})
    engine = HfDynamic(replace(loaded, adapters=adapters))
    ids = tuple(loaded.text.encode(PROMPT))
    answers = [
        engine.submit(GenRequest(str(name), ids, max_new_tokens=8, adapter=name))
        for name in ("math", None)
    ]
    for answer, context in zip(answers, (nullcontext(), adapted.disable_adapter()), strict=True):
        tokens = answer.result(timeout=60).tokens
        with context:
            expected = logprobs(adapted, [*ids, *(token.id for token in tokens)])
        for place, token in enumerate(tokens, start=len(ids) - 1):
            assert token.logprob == pytest.approx(float(expected[place].max()), abs=1e-4)
    engine.close()
    assert answers[0].result().tokens != answers[1].result().tokens


def test_counters(model_dirs: dict[str, Path]) -> None:
    engine = build(model_dirs["endless"])
    ids = tuple(range(5, 5 + PREFILL_CHUNK + 1))  # two passes
    engine.submit(GenRequest("c", ids, max_new_tokens=4)).result(timeout=60)
    engine.submit(GenRequest("d", ids[:3], max_new_tokens=0)).result(timeout=60)
    stats = engine.stats()
    engine.close()
    assert (stats.steps, stats.prompt_tokens, stats.new_tokens) == (2 + 3, PREFILL_CHUNK + 1, 4)
    assert (stats.running, stats.waiting, stats.reused_tokens) == (0, 0, 0)


def test_nan_weights_fail_the_request(model_dirs: dict[str, Path]) -> None:
    loaded = load_model(model_dirs["byte_level"], ServeConfig(), "cpu")
    with torch.no_grad():
        loaded.model.lm_head.weight[3] = float("nan")
    broken = HfDynamic(loaded)
    with pytest.raises(EngineError, match="NaN"):
        broken.submit(GenRequest("n", (5,))).result(timeout=60)
    broken.close()


def test_close_cancels_and_is_final(model_dirs: dict[str, Path]) -> None:
    closing = endless(model_dirs)
    running = closing.submit(GenRequest("r", (5,), max_new_tokens=8000))
    closing.close()
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    assert closing.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="closed"):
        closing.submit(GenRequest("late", (5,))).result(timeout=10)


def test_model_info(engine: HfDynamic) -> None:
    info = engine.info
    assert (info.name, info.device, info.dtype) == ("byte_level", "cpu", "float32")
    assert (info.quantization, info.context) == ("none", 512)
    assert info.parameters > 10_000


def test_context_is_bounded_by_the_model(model_dirs: dict[str, Path]) -> None:
    assert load_model(model_dirs["byte_level"], ServeConfig(), "cpu").info.context == 1024


def test_threads() -> None:
    assert thread_count(ServeConfig(threads=3)) == 3
    assert thread_count(ServeConfig()) >= 1


def nf4_and_back(weight: torch.Tensor) -> torch.Tensor:
    """bitsandbytes' own quantization of one matrix, undone."""
    packed, state = bitsandbytes.functional.quantize_4bit(
        weight, quant_type="nf4", compress_statistics=True
    )
    return bitsandbytes.functional.dequantize_4bit(packed, state)


def int8_and_back(weight: torch.Tensor) -> torch.Tensor:
    """Row-wise absmax quantization to int8, undone."""
    half = weight.half()  # bitsandbytes quantizes to int8 from float16
    scale = half.abs().amax(dim=1, keepdim=True).float() / 127
    return (half / scale).round() * scale


FORMATS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any], float]] = {
    "nf4": (nf4_and_back, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, 1e-4),
    "int8": (
        int8_and_back,
        {"load_in_8bit": True},
        1e-2,
    ),  # a few codes in 10,000 round the other way
}


@pytest.mark.parametrize("name", FORMATS)
@torch.no_grad()
def test_bitsandbytes_weights_are_unpacked_to_the_same_numbers(
    model_dirs: dict[str, Path], tmp_path: Path, plain: Any, name: str
) -> None:
    """Not against bitsandbytes' forward pass: with AVX512-BF16 that computes in bfloat16."""
    round_trip, options, tolerance = FORMATS[name]
    settings = BitsAndBytesConfig(**options, bnb_4bit_use_double_quant=True)
    AutoModelForCausalLM.from_pretrained(
        model_dirs["byte_level"],
        dtype=torch.float32,
        device_map={"": "cpu"},
        quantization_config=settings,
    ).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((model_dirs["byte_level"] / file).read_bytes())
    loaded = load_model(tmp_path, ServeConfig(), "cpu")
    assert loaded.info.quantization == "bitsandbytes"
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    reference = copy.deepcopy(plain)
    for module in reference.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.copy_(round_trip(module.weight))
    ids = loaded.text.encode(PROMPT)
    actual, expected = logprobs(loaded.model, ids), logprobs(reference, ids)
    assert torch.allclose(actual, expected, atol=tolerance, rtol=0)
    assert not torch.allclose(actual, logprobs(plain, ids), atol=tolerance), "nothing was quantized"
