"""The batching engine against plain forward passes and Hugging Face's own generate."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from serve.config import ServeConfig
from serve.engine import build_engine, loop
from serve.engine.base import DeadlineExceeded, Engine, EngineError, GenRequest, GenResult
from serve.engine.batching import Batching
from serve.engine.hf_dynamic import HfDynamic
from serve.engine.loop import FAILURES
from tests.serve.conftest import byte_level_tokenizer, save_model

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 425}
LLAMA_LIKE = SMALL | {"intermediate_size": 64, "num_key_value_heads": 2, "initializer_range": 0.3}
WINDOW = {"sliding_window": 24}

#: Architectures that are batched: ``model_type`` and settings.
BATCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", LLAMA_LIKE),
    "mistral": ("mistral", LLAMA_LIKE | {"sliding_window": None}),
    "mistral-window": ("mistral", LLAMA_LIKE | WINDOW),
    "qwen2": ("qwen2", LLAMA_LIKE),
    "qwen2-window": (
        "qwen2",
        LLAMA_LIKE | WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", LLAMA_LIKE | {"head_dim": 8}),
    "phi3": ("phi3", LLAMA_LIKE | {"pad_token_id": 0}),
    "gpt_neox": ("gpt_neox", SMALL | {"intermediate_size": 64, "initializer_range": 0.3}),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 425}),
    "opt": ("opt", SMALL | {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.3}),
    "persimmon": ("persimmon", SMALL | {"intermediate_size": 64, "initializer_range": 0.3}),
}

FALCON: dict[str, Any] = SMALL | {"initializer_range": 0.3, "max_position_embeddings": 128}
BLOOM: dict[str, Any] = {
    "hidden_size": 32,
    "n_layer": 2,
    "n_head": 4,
    "vocab_size": 425,
    "initializer_range": 0.3,
}
SIX = {"n_heads": 6, "d_model": 48}
MPT: dict[str, Any] = {
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "vocab_size": 425,
    "max_seq_len": 128,
}
MPT |= {"initializer_range": 0.3}
GPTJ = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 425, "initializer_range": 0.3}
GPT_NEO: dict[str, Any] = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 425}
GPT_NEO |= {"initializer_range": 0.3, "window_size": 24, "max_position_embeddings": 128}
GEMMA2 = LLAMA_LIKE | WINDOW | {"head_dim": 8, "query_pre_attn_scalar": 5}
NEW = {"new_decoder_architecture": True, "num_kv_heads": 2}

#: Families whose attention is hooked, has biases by distance or capped scores.
HOOKED: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", BLOOM),
    "bloom-6-heads": ("bloom", BLOOM | {"hidden_size": 48, "n_head": 6}),
    "bloom-post": ("bloom", BLOOM | {"apply_residual_connection_post_layernorm": True}),
    "falcon": ("falcon", FALCON),
    "falcon-sequential": ("falcon", FALCON | {"multi_query": False, "parallel_attn": False}),
    "falcon-new": ("falcon", FALCON | NEW),
    "falcon-alibi": ("falcon", FALCON | {"alibi": True, "multi_query": False, "bias": True}),
    "falcon-alibi-new": ("falcon", FALCON | NEW | {"alibi": True}),
    "mpt": ("mpt", MPT),
    "mpt-6-heads": ("mpt", MPT | SIX),
    "mpt-clipped": ("mpt", MPT | {"attn_config": {"clip_qkv": 1.0, "softmax_scale": 0.5}}),
    "gptj": ("gptj", GPTJ | {"rotary_dim": 4}),
    "gptj-whole": ("gptj", GPTJ | {"rotary_dim": 8}),
    "gpt_neo": ("gpt_neo", GPT_NEO | {"attention_types": [[["global", "local"], 1]]}),
    "gemma2": ("gemma2", GEMMA2 | {"attn_logit_softcapping": 2.0}),
    "gemma2-uncapped": (
        "gemma2",
        GEMMA2 | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
}
BATCHED |= HOOKED

#: Architectures whose attention cannot be replaced.
FALLEN_BACK: dict[str, tuple[str, dict[str, Any]]] = {
    "codegen": ("codegen", GPTJ | {"rotary_dim": 4}),
}


def save(folder: Path, model_type: str, settings: dict[str, Any]) -> Path:
    """A random model of the architecture with the byte-level tokenizer."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(model_type, **settings)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    byte_level_tokenizer().save_pretrained(folder)
    return folder


def plain_model(folder: Path) -> Any:
    """By transformers alone: SDPA leaves Gemma 2's cap out, eager Falcon adds ALiBi twice."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if model.config.model_type == "gemma2":
        model.set_attn_implementation("eager")
    return model


def random_prompts(count: int, longest: int, vocabulary: int = 390) -> list[tuple[int, ...]]:
    """Ragged prompts; a third of them share a head with the one before."""
    numbers = random.Random(count)
    prompts: list[tuple[int, ...]] = []
    for index in range(count):
        size = numbers.randint(1, longest)
        fresh = tuple(numbers.randrange(5, vocabulary) for _ in range(size))
        prompts.append((*prompts[-1][:60], *fresh[:9]) if index % 3 == 2 else fresh)
    return prompts


@torch.inference_mode()
def generate(model: Any, prompt: tuple[int, ...], count: int) -> list[int]:
    """Greedy tokens of transformers' generate, whatever EOS says."""
    made = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    return made[0, len(prompt) :].tolist()


@torch.inference_mode()
def logprobs(model: Any, ids: list[int]) -> torch.Tensor:
    """``[len(ids), vocabulary]``: row i is the distribution after token i."""
    return model(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def assert_scored_as_plain(model: Any, request: GenRequest, result: GenResult) -> None:
    """Every logprob and candidate equals that of one plain forward pass within 1e-4."""
    tokens = [*request.prompt, *(token.id for token in result.tokens)]
    expected = logprobs(model, tokens)
    scored = list(enumerate(result.tokens, start=len(request.prompt)))
    scored += list(enumerate(result.prompt[1:], start=request.lead + 1))
    for place, token in scored:
        row = expected[place - 1]
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
        best = row.topk(request.candidates).values.tolist()
        assert [value for _, value in token.candidates] == pytest.approx(best, abs=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without EOS."""
    tokenizer = byte_level_tokenizer()
    tokenizer.eos_token = None
    return save_model(tmp_path_factory.mktemp("batching"), tokenizer, max_position_embeddings=8192)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:
    return plain_model(folder)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Batching]]:
    """Builds engines, and closes them in the end."""
    started: list[Engine] = []

    def build(device: str = "cpu", **settings: Any) -> Batching:
        started.append(build_engine(folder, ServeConfig(**settings), device))
        assert isinstance(started[-1], Batching)
        return started[-1]

    yield build
    for engine in started:
        engine.close()


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Engine]:
    """One engine for the tests that only ask."""
    engine = build_engine(folder, ServeConfig(context=512, prefill_tokens=48), "cpu")
    yield engine
    engine.close()


def answers(engine: Engine, requests: list[GenRequest]) -> list[GenResult]:
    """All at once."""
    futures = [engine.submit(request) for request in requests]
    return [future.result(timeout=120) for future in futures]


def test_greedy_is_generate_for_200_prompts(shared: Engine, plain: Any) -> None:
    prompts = random_prompts(200, longest=120)
    requests = [GenRequest(f"g{i}", prompt, max_new_tokens=12) for i, prompt in enumerate(prompts)]
    before = shared.stats().prefix_hits
    for request, result in zip(requests, answers(shared, requests), strict=True):
        assert [token.id for token in result.tokens] == generate(plain, request.prompt, 12)
    assert shared.stats().prefix_hits > before, "no prefix was reused: the test shows too little"


def test_logprobs_whatever_the_batch(shared: Engine, plain: Any) -> None:
    """Echo, sampling, stops, candidates and shared heads side by side."""
    numbers = random.Random(7)
    requests = [
        GenRequest(
            f"m{i}",
            prompt,
            max_new_tokens=numbers.choice([1, 1, 5, 30]),
            temperature=numbers.choice([0.0, 0.7, 2.0]),
            seed=i,
            candidates=numbers.choice([1, 3, 5]),
            echo=i % 4 == 1,
            stops=("e", "\n") if i % 5 == 2 else (),
        )
        for i, prompt in enumerate(random_prompts(60, longest=200))
    ]
    for request, result in zip(requests, answers(shared, requests), strict=True):
        assert_scored_as_plain(plain, request, result)


def test_seeds_do_not_depend_on_the_neighbours(shared: Engine) -> None:
    requests = [
        GenRequest(f"s{i}", prompt, max_new_tokens=20, temperature=1.0, seed=i)
        for i, prompt in enumerate(random_prompts(20, longest=60))
    ]
    alone = [shared.submit(request).result(timeout=60) for request in requests]
    together = answers(shared, [replace(request, id=f"t{request.id}") for request in requests])
    for one, other in zip(alone, together, strict=True):
        assert [token.id for token in one.tokens] == [token.id for token in other.tokens]


@pytest.mark.parametrize("name", BATCHED)
def test_architectures(tmp_path: Path, name: str) -> None:
    """Ragged prompts, longer than any window, in pieces: generate's tokens and plain logprobs."""
    folder = save(tmp_path, *BATCHED[name])
    engine = build_engine(folder, ServeConfig(context=128, prefill_tokens=32), "cpu")
    assert isinstance(engine, Batching), "fell back"
    model = plain_model(folder)
    requests = [
        GenRequest(f"a{i}", prompt, max_new_tokens=10, candidates=2, echo=i == 3)
        for i, prompt in enumerate(random_prompts(9, longest=80))
    ]
    try:
        results = answers(engine, requests)
    finally:
        engine.close()
    for request, result in zip(requests, results, strict=True):
        if result.finish_reason == "length":
            expected = generate(model, request.prompt, 10)
            assert [token.id for token in result.tokens] == expected
        assert_scored_as_plain(model, request, result)


@pytest.mark.parametrize("name", FALLEN_BACK)
def test_other_architectures_are_answered_one_by_one(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save(tmp_path, *FALLEN_BACK[name])
    engine = build_engine(folder, ServeConfig(context=64), "cpu")
    assert isinstance(engine, HfDynamic)
    assert engine.info.engine == "hf-dynamic"
    assert "no batching for this model" in caplog.text
    model = plain_model(folder)
    prompt = random_prompts(1, longest=40)[0]
    request = GenRequest("f", prompt, max_new_tokens=5, candidates=2)
    result = engine.submit(request).result(timeout=60)
    engine.close()
    assert_scored_as_plain(model, request, result)


def test_prefixes_are_computed_once(start: Callable[..., Batching], plain: Any) -> None:
    """30 requests arrive together with one head that nobody has seen."""
    engine = start(context=512, prefill_tokens=64)
    head = tuple(range(20, 320))
    requests = [
        GenRequest(f"p{i}", (*head, 330 + i, 331 + i), max_new_tokens=2, candidates=2)
        for i in range(30)
    ]
    results = answers(engine, requests)
    stats = engine.stats()
    assert stats.prompt_tokens == 30 * 302
    assert stats.reused_tokens >= 29 * 300
    assert stats.prefix_hits == 29
    for request, result in zip(requests[::7], results[::7], strict=True):
        assert_scored_as_plain(plain, request, result)


def test_a_prompt_asked_again_is_one_token(start: Callable[..., Batching], plain: Any) -> None:
    """Also among many others: more prompts than slots, whose heads differ."""
    engine = start(context=2048, prefill_tokens=64, max_batch=4)
    requests = [
        GenRequest(f"h{i}", (*(i + 5,) * 60, *range(20, 40 + i)), max_new_tokens=1, candidates=3)
        for i in range(9)
    ]
    first = answers(engine, requests)
    before = engine.stats()
    again = answers(engine, [replace(request, id=f"a{request.id}") for request in requests])
    after = engine.stats()
    prompts = sum(len(request.prompt) for request in requests)
    assert after.prompt_tokens - before.prompt_tokens == prompts
    assert after.reused_tokens - before.reused_tokens == prompts - len(requests)
    for request, one, other in zip(requests, first, again, strict=True):
        assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
        assert_scored_as_plain(plain, request, other)


def test_few_slots_are_touched_by_answers_of_one_token(start: Callable[..., Batching]) -> None:
    """30 long prompts wait for their turns: none of them holds memory before it."""
    engine = start(context=2048, prefill_tokens=64)
    prompts = [tuple(range(i + 5, i + 305)) for i in range(30)]
    answers(engine, [GenRequest(f"f{i}", p, max_new_tokens=1) for i, p in enumerate(prompts)])
    assert engine._keeping._slots.written < 3 * 300
    assert engine.stats().kept_tokens >= 30 * 300


def test_memory_is_bounded_by_the_token_budget(start: Callable[..., Batching]) -> None:
    engine = start(context=100, cache_tokens=350)
    assert engine.stats().cache_tokens == 300
    many = [GenRequest(f"b{i}", (5, 6, 7 + i), max_new_tokens=40) for i in range(8)]
    futures = [engine.submit(request) for request in many]
    seen = 0
    while not all(future.done() for future in futures):
        seen = max(seen, engine.stats().running)
    assert seen == 3
    assert start(context=100, cache_tokens=40).info.context == 40


def test_requests_join_and_leave_at_every_step(start: Callable[..., Batching]) -> None:
    """A short request is answered while a long one runs, and long before it."""
    engine = start(context=8000)
    long = engine.submit(GenRequest("long", (5,), max_new_tokens=7000))
    for i in range(5):
        engine.submit(GenRequest(f"short{i}", (6, i), max_new_tokens=3)).result(timeout=30)
    assert not long.done()
    engine.cancel("long")
    with pytest.raises(CancelledError):
        long.result(timeout=10)


def test_a_prompt_does_not_hold_up_the_answers(start: Callable[..., Batching]) -> None:
    """A long prompt is fed in pieces; an answer that runs gets a token beside each."""
    engine = start(context=8000, prefill_tokens=16)
    running = engine.submit(GenRequest("r", (5,), max_new_tokens=100))
    prompt = tuple(range(10, 210)) * 8
    done_first = []
    long = engine.submit(GenRequest("p", prompt, max_new_tokens=1))
    running.add_done_callback(lambda _: done_first.append(not long.done()))
    running.result(timeout=60)
    long.result(timeout=60)
    assert done_first == [True], "1600 prompt tokens take 100 steps of 16"


def test_cancel_and_deadline(start: Callable[..., Batching]) -> None:
    """Of requests that run, and of one that waits for a slot."""
    engine = start(context=8000, max_batch=1, prefill_tokens=16)
    running = engine.submit(GenRequest("running", (5,), max_new_tokens=7000))
    waiting = engine.submit(GenRequest("waiting", (5,), max_new_tokens=7000))
    late = engine.submit(
        GenRequest("late", (5,), max_new_tokens=7000, deadline=time.monotonic() + 0.2)
    )
    with pytest.raises(DeadlineExceeded):
        late.result(timeout=10)
    for request_id in ("waiting", "unknown", "running"):
        engine.cancel(request_id)
    for future in (waiting, running):
        with pytest.raises(CancelledError):
            future.result(timeout=10)
    assert len(engine.submit(GenRequest("n", (5,), max_new_tokens=3)).result(10).tokens) == 3
    assert engine.stats().running == engine.stats().waiting == 0


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (GenRequest("x", (10**6,)), "vocabulary"),
        (GenRequest("x", (-1,)), "vocabulary"),
        (GenRequest("x", ()), "nothing to start from"),
        (GenRequest("x", (5,) * 600), "more than the context"),
        (GenRequest("x", (5,), adapter="a"), "no adapter named"),
    ],
)
def test_bad_requests_are_refused(shared: Engine, request_: GenRequest, fault: str) -> None:
    with pytest.raises(EngineError, match=fault):
        shared.submit(request_).result(timeout=10)


def test_an_error_of_one_request_stays_with_it(shared: Engine) -> None:
    """Its own rule fails; NaN in its own row is the next test's."""

    def broken(text: str) -> bool:
        raise ValueError(text)

    good = GenRequest("good", (5, 6), max_new_tokens=10)
    expected = shared.submit(good).result(timeout=30)
    bad = shared.submit(GenRequest("bad", (5, 6, 7), max_new_tokens=10, enough=broken))
    beside = shared.submit(replace(good, id="beside"))
    with pytest.raises(EngineError, match="ValueError"):
        bad.result(timeout=30)
    got = beside.result(timeout=30)
    assert [token.id for token in got.tokens] == [token.id for token in expected.tokens]


def test_enough_ends_an_answer(shared: Engine) -> None:
    request = GenRequest("e", (5, 6), max_new_tokens=50, enough=lambda text: len(text) >= 4)
    result = shared.submit(request).result(timeout=30)
    assert result.finish_reason == "stop"
    assert len("".join(token.text for token in result.tokens[:-1])) < 4


DAMAGED = 300


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without EOS whose embedding of one token is NaN."""
    tokenizer = byte_level_tokenizer()
    tokenizer.eos_token = None
    folder = save_model(tmp_path_factory.mktemp("damaged"), tokenizer, max_position_embeddings=2048)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.embed_tokens.weight[DAMAGED] = float("nan")
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("deterministic", [False, True])
def test_nothing_of_a_damaged_row_stays_in_its_slot(damaged: Path, deterministic: bool) -> None:
    """Who takes the slot shares its first token, or is masked there beside a longer neighbour.

    The causal mask lets 0 x NaN through, so the healthy tokens before the damaged one are NaN in
    all layers but the first; a request that took them for its prefix failed, too.
    """
    settings = ServeConfig(context=1024, max_batch=2, prefill_tokens=8, deterministic=deterministic)
    engine = build_engine(damaged, settings, "cpu")
    assert isinstance(engine, Batching)
    long = engine.submit(GenRequest("long", (7, 8, 9), max_new_tokens=900))
    for head in ((5,), tuple(range(20, 40)), tuple(range(20, 60))):
        bad = engine.submit(GenRequest("bad", (*head, DAMAGED, 6), max_new_tokens=4))
        with pytest.raises(EngineError, match="NaN"):
            bad.result(timeout=30)
        good = engine.submit(GenRequest("good", (*head, 6), max_new_tokens=4))
        assert len(good.result(timeout=30).tokens) == 4
        assert not long.done(), "nobody was beside it: the test shows too little"
    engine.cancel("long")
    for tensor, kept in engine._keeping._pairs:
        assert tensor[:, :, :-1].isfinite().all()  # the last place is padding's: nobody reads it
        assert kept.isfinite().all()
    engine.close()


def test_a_damaged_row_fails_alone(damaged: Path) -> None:
    """The embedding of one token is NaN: only the prompt that has it fails."""
    engine = build_engine(damaged, ServeConfig(context=64, max_batch=4), "cpu")
    futures = [
        engine.submit(GenRequest(f"d{i}", (5, DAMAGED if i == 1 else 6), max_new_tokens=4))
        for i in range(3)
    ]
    with pytest.raises(EngineError, match="NaN"):
        futures[1].result(timeout=30)
    assert all(futures[i].result(timeout=30).tokens for i in (0, 2))
    after = engine.submit(GenRequest("after", (5, 6), max_new_tokens=4)).result(timeout=30)
    assert after.tokens == futures[0].result().tokens
    engine.close()


def broken_step(feeds: object) -> Any:
    raise RuntimeError("out of memory")


def test_a_failed_pass_fails_its_requests_and_no_later_ones(
    start: Callable[..., Batching], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(context=64)
    good = GenRequest("good", (5, 6), max_new_tokens=3)
    expected = engine.submit(good).result(timeout=30)
    with monkeypatch.context() as patch:
        patch.setattr(engine._stepper, "step", broken_step)
        for i in range(FAILURES - 1):
            with pytest.raises(EngineError, match="RuntimeError"):
                engine.submit(replace(good, id=f"bad{i}")).result(timeout=30)
    assert engine.submit(replace(good, id="again")).result(timeout=30) == expected
    assert engine.heartbeat() < 10


def test_an_engine_that_keeps_failing_says_that_it_is_dead(
    start: Callable[..., Batching], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(context=64, max_batch=1)
    monkeypatch.setattr(engine._stepper, "step", broken_step)
    futures: list[Future[GenResult]] = [
        engine.submit(GenRequest(f"b{i}", (5, i), max_new_tokens=3)) for i in range(FAILURES + 2)
    ]
    for future in futures:
        with pytest.raises(EngineError):
            future.result(timeout=30)
    engine._thread.join(10)
    assert engine.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="closed"):
        engine.submit(GenRequest("late", (5,))).result(timeout=10)


def test_close_cancels_and_is_final(start: Callable[..., Batching]) -> None:
    engine = start(context=8000)
    running = engine.submit(GenRequest("r", (5,), max_new_tokens=7000))
    engine.close()
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    assert engine.heartbeat() == float("inf")


def bits(result: GenResult) -> list[tuple[int, float]]:
    return [(token.id, token.logprob) for token in (*result.prompt, *result.tokens)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_deterministic_answers_are_the_same_to_the_last_bit(tmp_path: Path, dtype: Any) -> None:
    """Alone, in a batch, and again with its prefix there: bfloat16 differs otherwise."""
    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA_LIKE | {"hidden_size": 128, "num_attention_heads": 4})
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    settings = ServeConfig(
        dtype=dtype, deterministic=True, context=128, prefill_tokens=16, max_batch=8
    )
    engine = build_engine(tmp_path, settings, "cpu")
    assert isinstance(engine, Batching)
    requests = [
        GenRequest(f"q{i}", prompt, max_new_tokens=12, temperature=i % 2, seed=i, echo=i == 4)
        for i, prompt in enumerate(random_prompts(12, longest=90))
    ]
    alone = [bits(engine.submit(request).result(timeout=60)) for request in requests]
    for run in ("x", "y"):
        batch = [replace(request, id=run + request.id) for request in requests]
        assert [bits(result) for result in answers(engine, batch)] == alone
    engine.close()


def test_adapters_side_by_side(folder: Path, tmp_path: Path) -> None:
    """Each answered by its own: as PEFT alone computes it."""
    from peft import LoraConfig, PeftModel, get_peft_model

    names: list[str | None] = ["a", None, "b"]
    for seed, name in enumerate(["a", "b"]):
        torch.manual_seed(seed)
        settings = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        get_peft_model(plain_model(folder), settings).save_pretrained(tmp_path / name)
    paths = {name: str(tmp_path / name) for name in ("a", "b")}
    engine = build_engine(folder, ServeConfig(context=256, adapters=paths), "cpu")
    assert isinstance(engine, Batching)
    prompt = tuple(range(20, 120))
    requests = [
        GenRequest(f"{name}{i}", (*prompt, i), max_new_tokens=6, adapter=name, candidates=2)
        for i in range(5, 8)
        for name in names
    ]
    results = answers(engine, requests)
    engine.close()
    for request, result in zip(requests, results, strict=True):
        model = plain_model(folder)
        if request.adapter:
            model = PeftModel.from_pretrained(model, tmp_path / request.adapter)
        assert_scored_as_plain(model, request, result)


def test_a_request_that_comes_while_the_engine_closes_is_refused(
    start: Callable[..., Batching], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed between its arrival and its place in the queue, which nobody reads any more."""
    engine = start(context=64)
    monkeypatch.setattr(loop, "check_request", lambda *given: engine.close())
    with pytest.raises(EngineError, match="the engine is closed"):
        engine.submit(GenRequest("late", (5,), max_new_tokens=3)).result(timeout=5)
    assert engine.stats().waiting == 0
