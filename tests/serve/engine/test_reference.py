"""The reference engine, and the fallback engine held against it."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from serve.config import ServeConfig
from serve.engine.base import DeadlineExceeded, Engine, GenRequest, GenResult, GenToken
from serve.engine.hf_dynamic import HfDynamic
from serve.engine.loading import LoadedModel, load_model
from serve.engine.reference import Reference

CONTEXT = 256


def load(model_dirs: dict[str, Path], kind: str) -> LoadedModel:
    """A tiny Llama, or a GPT-2 of the same vocabulary."""
    loaded = load_model(model_dirs["byte_level"], ServeConfig(context=CONTEXT), "cpu")
    if kind == "gpt2":
        torch.manual_seed(0)
        size = loaded.model.config.vocab_size
        sizes = {"vocab_size": size, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
        model = GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.3)).eval()
        loaded = replace(loaded, model=model)
    return loaded


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def engines(
    model_dirs: dict[str, Path], request: pytest.FixtureRequest
) -> Iterator[tuple[Reference, HfDynamic]]:
    pair = Reference(load(model_dirs, request.param)), HfDynamic(load(model_dirs, request.param))
    yield pair
    for engine in pair:
        engine.close()


@pytest.fixture
def reference(model_dirs: dict[str, Path]) -> Iterator[Reference]:
    engine = Reference(load(model_dirs, "llama"))
    yield engine
    engine.close()


def ask(engine: Engine, prompt: tuple[int, ...] = (7, 8, 9), **options: Any) -> GenResult:
    return engine.submit(GenRequest("t", prompt, **options)).result(timeout=60)


def text_of(result: GenResult) -> str:
    return "".join(token.text for token in result.tokens)


def same(ours: tuple[GenToken, ...], theirs: tuple[GenToken, ...]) -> None:
    assert [(token.id, token.text) for token in ours] == [(t.id, t.text) for t in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        values = [[value for _, value in token.candidates] for token in (one, other)]
        assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_the_fallback_engine_is_the_reference(engines: tuple[Reference, HfDynamic]) -> None:
    """Greedy, echoed, with candidates, over 20 random prompts."""
    numbers = random.Random(0)
    lengths = []
    for place in range(20):
        prompt = tuple(numbers.randrange(2, 390) for _ in range(numbers.choice([1, 9, 60, 200])))
        options = {"max_new_tokens": numbers.choice([0, 1, 24]), "candidates": place % 4}
        options |= {"echo": place % 2 == 0, "lead": place % 3 == 0}
        one, other = (ask(engine, prompt, **options) for engine in engines)
        assert one.finish_reason == other.finish_reason
        same(one.tokens, other.tokens)
        same(one.prompt, other.prompt)
        lengths.append(len(one.tokens))
    assert sum(lengths) > 100


def test_stops_and_enough_are_the_fallback_engines(engines: tuple[Reference, HfDynamic]) -> None:
    texts = {start: text_of(ask(engines[0], (start, 9), max_new_tokens=30)) for start in range(20)}
    start, text = max(texts.items(), key=lambda item: len(item[1]))
    assert len(text) > 20
    for place in range(0, len(text) - 3, 11):
        options = {"max_new_tokens": 30, "stops": (text[place : place + 3],)}
        one, other = (ask(engine, (start, 9), **options) for engine in engines)
        assert one.finish_reason == other.finish_reason == "stop"
        same(one.tokens, other.tokens)
    result = ask(engines[0], (start, 9), max_new_tokens=30, enough=lambda text: len(text) > 5)
    assert result.finish_reason == "stop"
    assert 5 < len(text_of(result)) < len(text)


def test_the_models_own_defaults_do_not_leak(model_dirs: dict[str, Path]) -> None:
    """generate() would take what a request leaves open from the model's generation_config."""
    loaded = load(model_dirs, "llama")
    plain = HfDynamic(load(model_dirs, "llama"))
    expected = ask(plain, max_new_tokens=30)
    plain.close()
    loaded.model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=3.0,
        repetition_penalty=5.0,
        no_repeat_ngram_size=2,
        min_new_tokens=40,
        suppress_tokens=[token.id for token in expected.tokens],
    )
    engine = Reference(loaded)
    same(ask(engine, max_new_tokens=30).tokens, expected.tokens)
    engine.close()


def test_sampling(reference: Reference) -> None:
    def sample(seed: int | None, **options: Any) -> list[int]:
        settings = {"temperature": 1.0, "max_new_tokens": 12} | options
        return [token.id for token in ask(reference, seed=seed, **settings).tokens]

    assert sample(7) == sample(7)
    assert sample(None) != sample(None)
    assert len({tuple(sample(seed)) for seed in range(4)}) > 1
    greedy = sample(1, temperature=0.0)
    assert sample(1, top_k=1) == sample(2, top_p=0.0) == sample(3, temperature=1e-5) == greedy


def test_sampled_tokens_have_raw_logprobs(reference: Reference) -> None:
    result = ask(reference, temperature=2.0, seed=5, max_new_tokens=8, top_k=3)
    ids = torch.tensor([[7, 8, 9, *(token.id for token in result.tokens)]])
    with torch.inference_mode():
        expected = reference._model(ids).logits[0].log_softmax(-1)
    for place, token in enumerate(result.tokens, start=2):
        assert token.logprob == pytest.approx(float(expected[place, token.id]), abs=1e-4)


def test_cancel_and_deadline(model_dirs: dict[str, Path]) -> None:
    loaded = load_model(model_dirs["endless"], ServeConfig(context=8192), "cpu")
    engine = Reference(loaded)
    running = engine.submit(GenRequest("r", (5,), max_new_tokens=8000))
    while not engine.stats().new_tokens:
        time.sleep(0.001)
    engine.cancel("r")
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    late = GenRequest("l", (5,), max_new_tokens=8000, deadline=time.monotonic() + 0.2)
    with pytest.raises(DeadlineExceeded):
        engine.submit(late).result(timeout=10)
    assert len(ask(engine, max_new_tokens=3).tokens) == 3
    engine.close()


def test_what_ends_an_answer_is_the_same_in_both(engines: tuple[Reference, HfDynamic]) -> None:
    """An id of a free answer that is made its end, barred for a while, and EOS that is ignored."""
    free = [ask(engine, max_new_tokens=12, ignore_eos=True) for engine in engines]
    same(free[0].tokens, free[1].tokens)
    assert len(free[0].tokens) == 12
    first = free[0].tokens[0].id
    for engine in engines:
        ended = ask(engine, max_new_tokens=12, ends=(first,))
        assert (ended.tokens, ended.finish_reason) == ((), "eos")
        assert ended.end and ended.end.id == first
    least = [ask(engine, max_new_tokens=12, ends=(first,), min_tokens=5) for engine in engines]
    same(least[0].tokens, least[1].tokens)
    assert len(least[0].tokens) >= 5 and first not in [token.id for token in least[0].tokens]
