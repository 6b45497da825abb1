"""Families whose attention is hooked, has biases by distance or capped scores: as their own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.config import ServeConfig
from serve.engine import build_engine, hooks, stepping
from serve.engine.attention import Piece
from serve.engine.base import Engine, GenRequest
from serve.engine.batching import Batching
from serve.engine.hf_dynamic import HfDynamic
from serve.engine.loading import load_model
from serve.engine.stepping import Feed, Stepper
from tests.serve.engine.test_batching import (
    BLOOM,
    FALCON,
    HOOKED,
    MPT,
    answers,
    assert_scored_as_plain,
    bits,
    plain_model,
    random_prompts,
    save,
)
from tests.serve.test_worker import answer, job, worker

#: One of each way that scores are made.
KINDS = ("bloom-6-heads", "falcon-new", "falcon-alibi-new", "mpt-6-heads", "gpt_neo", "gemma2")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Builds engines on random models, and closes them in the end."""
    started: list[Engine] = []

    def build(name: str, **settings: Any) -> Engine:
        save(tmp_path, *HOOKED[name])
        settings = {"context": 128, "prefill_tokens": 32} | settings
        started.append(build_engine(tmp_path, ServeConfig(**settings), "cpu"))
        return started[-1]

    yield build
    for engine in started:
        engine.close()


def fed(stepper: Stepper, samples: list[list[int]], size: int) -> list[torch.Tensor]:
    """Logits of samples that are fed together, in pieces of one size."""
    stepper.allocate(len(samples), max(map(len, samples)))
    got: list[list[torch.Tensor]] = [[] for _ in samples]
    for start in range(0, max(map(len, samples)), size):
        pieces = [
            Piece(slot, start, min(start + size, len(ids)))
            for slot, ids in enumerate(samples)
            if start < len(ids)
        ]
        pieces.sort(key=lambda piece: (piece.size > 1, piece.slot))
        feeds = [Feed(p, samples[p.slot][p.start : p.stop], p.size) for p in pieces]
        for piece, rows in zip(pieces, stepper.step(feeds), strict=True):
            got[piece.slot].append(rows)
    return [torch.cat(rows) for rows in got]


@pytest.mark.parametrize("size", [1, 19])
@pytest.mark.parametrize("name", HOOKED)
def test_logits_are_transformers_own(tmp_path: Path, name: str, size: int) -> None:
    """Ragged, token by token and in pieces, past every window."""
    folder = save(tmp_path, *HOOKED[name])
    numbers = torch.Generator().manual_seed(3)
    samples = [torch.randint(425, (n,), generator=numbers).tolist() for n in (100, 7, 61, 33)]
    expected = stepping.expected_logits(plain_model(folder), samples)
    stepper = Stepper(load_model(folder, ServeConfig(), "cpu"))
    for rows, wanted in zip(fed(stepper, samples, size), expected, strict=True):
        torch.testing.assert_close(rows, wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("bloom", BLOOM),
        ("mpt", MPT | {"max_seq_len": 1500}),
        ("falcon", FALCON | {"alibi": True, "max_position_embeddings": 1500}),
    ],
)
def test_biases_of_far_keys(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    """Biases of 1,400 places are large beside the scores, and Falcon's are rounded."""
    folder = save(tmp_path, kind, settings)
    numbers = torch.Generator().manual_seed(4)
    samples = [torch.randint(425, (n,), generator=numbers).tolist() for n in (1400, 900)]
    expected = stepping.expected_logits(plain_model(folder), samples)
    stepper = Stepper(load_model(folder, ServeConfig(), "cpu"))
    for rows, wanted in zip(fed(stepper, samples, 256), expected, strict=True):
        torch.testing.assert_close(rows, wanted, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("name", HOOKED)
def test_alone_together_and_again_with_its_head(
    start: Callable[..., Engine], tmp_path: Path, name: str
) -> None:
    """Heads are taken over, an echo is scored whole, nobody's neighbours show."""
    engine = start(name)
    head = tuple(range(20, 90))
    prompts = [(*head, 100 + i, 200 + i) for i in range(4)] + random_prompts(3, longest=60)
    requests = [
        GenRequest(f"r{i}", prompt, max_new_tokens=8, candidates=2, echo=i in (3, 6))
        for i, prompt in enumerate(prompts)
    ]
    alone = [engine.submit(request).result(timeout=60) for request in requests]
    assert engine.stats().reused_tokens >= 2 * len(head), "no head was reused: this shows nothing"
    together = answers(engine, [replace(request, id=f"t{request.id}") for request in requests])
    model = plain_model(tmp_path)
    for request, one, other in zip(requests, alone, together, strict=True):
        assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
        assert_scored_as_plain(model, request, one)
        assert_scored_as_plain(model, request, other)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", KINDS)
def test_deterministic_to_the_last_bit(start: Callable[..., Engine], name: str, dtype: str) -> None:
    """And in half the digits the self-check passes, too."""
    engine = start(name, dtype=dtype, deterministic=True, prefill_tokens=16, max_batch=4)
    assert isinstance(engine, Batching), "fell back"
    requests = [
        GenRequest(f"q{i}", prompt, max_new_tokens=6, temperature=i % 2, seed=i, echo=i == 4)
        for i, prompt in enumerate(random_prompts(6, longest=60))
    ]
    alone = [bits(engine.submit(request).result(timeout=60)) for request in requests]
    batch = [replace(request, id="x" + request.id) for request in requests]
    assert [bits(result) for result in answers(engine, batch)] == alone


@pytest.mark.parametrize("name", KINDS)
def test_the_wire_contract(start: Callable[..., Engine], name: str) -> None:
    served = worker(start(name))
    prompt = " leading space, <|im_end|> and 😀\n"
    content = answer(served, job(prompt, max_new_tokens=2, echo_prompt=True))
    scored = answer(served, job(prompt, max_new_tokens=0, echo_prompt=True))
    assert scored["tokens"] == content["tokens"][: len(scored["tokens"])]
    sampled = answer(served, job(num_samples=3, temperature=1.0, seed=4, max_new_tokens=6))
    assert sampled["completions"][0]["text"] == sampled["text"]
    long = answer(served, job("The capital of France is Paris. " * 40, max_new_tokens=4))
    assert long["truncated_tokens"] > 0


@pytest.mark.parametrize(
    ("name", "target"),
    [("bloom", "query_key_value"), ("falcon-new", "query_key_value"), ("mpt", "Wqkv")],
)
def test_adapters_of_what_a_hook_calls(tmp_path: Path, name: str, target: str) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    folder, adapter = save(tmp_path, *HOOKED[name]), tmp_path / "adapter"
    torch.manual_seed(0)
    made = LoraConfig(r=4, target_modules=[target], init_lora_weights=False)
    get_peft_model(plain_model(folder), made).save_pretrained(adapter)
    engine = build_engine(folder, ServeConfig(context=128, adapters={"a": str(adapter)}), "cpu")
    assert isinstance(engine, Batching), "fell back"
    requests = [
        GenRequest(f"{i}", (*range(20, 60), i), max_new_tokens=4, adapter=by, candidates=2)
        for i, by in ((5, "a"), (6, None), (7, "a"))
    ]
    results = answers(engine, requests)
    engine.close()
    for request, result in zip(requests, results, strict=True):
        model = plain_model(folder)
        if request.adapter:
            model = PeftModel.from_pretrained(model, adapter)
        assert_scored_as_plain(model, request, result)


def wrong_bias(model: Any, length: int) -> torch.Tensor | None:
    table = right_bias(model, length)
    return None if table is None else -table


right_bias = hooks.bias


@pytest.mark.parametrize("name", ["bloom", "falcon-alibi", "mpt"])
def test_a_wrong_bias_is_noticed_and_the_own_attention_comes_back(
    start: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(hooks, "bias", wrong_bias)
    engine = start(name)
    assert isinstance(engine, HfDynamic)
    request = GenRequest("f", random_prompts(1, longest=40)[0], max_new_tokens=5, candidates=2)
    assert_scored_as_plain(plain_model(tmp_path), request, engine.submit(request).result(60))


def test_gemma_2_is_held_against_its_capped_scores(tmp_path: Path) -> None:
    """transformers loads it with an attention that leaves the cap out."""
    folder = save(tmp_path, *HOOKED["gemma2"])
    assert load_model(folder, ServeConfig(), "cpu").model.config._attn_implementation == "eager"


def test_other_families_have_no_bias(model_dirs: dict[str, Path]) -> None:
    loaded = load_model(model_dirs["byte_level"], ServeConfig(), "cpu")
    assert hooks.bias(loaded.model, 9) is None
    assert hooks.install(loaded.model) == []
