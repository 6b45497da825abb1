"""The engine of all families that are no causal ones, against plain passes of transformers."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.config import ServeConfig
from serve.engine import build_engine
from serve.engine.base import DeadlineExceeded, Engine, EngineError, GenRequest, GenResult
from serve.engine.conditional import Conditional
from serve.engine.loop import FAILURES
from tests import kin
from tests.serve.engine.families import Plain, plain_model, speaking

LARGEST = 100  # of the tokenizers here the smallest has some more ids


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def folders(root: Path) -> Callable[[str], Path]:
    """``folders(family)``, each made once."""

    def folder(family: str) -> Path:
        path = root / family
        return path if path.exists() else speaking(family, path)

    return folder


@pytest.fixture(scope="module", params=kin.FAMILIES)
def served(
    request: pytest.FixtureRequest, folders: Callable[[str], Path]
) -> Iterator[tuple[Engine, Plain]]:
    """Each family in turn, beside the same model by transformers alone."""
    family = str(request.param)
    engine = build_engine(folders(family), ServeConfig(max_batch=8), "cpu")
    assert isinstance(engine, Conditional)
    yield engine, Plain(family, plain_model(family, folders(family)), engine.text)
    engine.close()


@pytest.fixture
def start(folders: Callable[[str], Path]) -> Iterator[Callable[..., Any]]:
    """Builds engines by family, and closes them in the end."""
    started: list[Engine] = []

    def build(family: str, **settings: Any) -> Any:
        started.append(build_engine(folders(family), ServeConfig(**settings), "cpu"))
        return started[-1]

    yield build
    for engine in started:
        engine.close()


def random_prompts(count: int, longest: int) -> list[tuple[int, ...]]:
    """Ragged prompts; every fourth is the one before again."""
    numbers = random.Random(count)
    prompts: list[tuple[int, ...]] = []
    for index in range(count):
        size = numbers.randint(1, longest)
        fresh = tuple(numbers.randrange(5, LARGEST) for _ in range(size))
        prompts.append(prompts[-1] if index % 4 == 3 else fresh)
    return prompts


def answers(engine: Engine, requests: list[GenRequest]) -> list[GenResult]:
    """All at once."""
    futures = [engine.submit(request) for request in requests]
    return [future.result(timeout=120) for future in futures]


def mixed(count: int, longest: int, most: int) -> list[GenRequest]:
    """Greedy and sampled answers of many lengths."""
    numbers = random.Random(3)
    return [
        GenRequest(
            f"m{i}",
            prompt,
            max_new_tokens=numbers.choice([1, 3, most]),
            temperature=(0.0, 0.7, 2.0)[i % 3],
            seed=i,
            candidates=numbers.choice([1, 3]),
            ignore_eos=i % 2 == 0,
        )
        for i, prompt in enumerate(random_prompts(count, longest))
    ]


def assert_close(one: GenResult, other: GenResult, tolerance: float = 1e-5) -> None:
    """The same tokens with the same scores."""
    assert [token.id for token in one.tokens] == [token.id for token in other.tokens]
    assert one.finish_reason == other.finish_reason
    for a, b in zip(one.tokens, other.tokens, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=tolerance, rel=2e-6)
        best, same = ([value for _, value in token.candidates] for token in (a, b))
        assert best == pytest.approx(same, abs=tolerance, rel=2e-6)  # some are far down


def test_together_is_alone_is_plain(served: tuple[Engine, Plain]) -> None:
    """Rows join and leave at every step: more of them than the engine has room for."""
    engine, plain = served
    requests = mixed(24, longest=90, most=12)
    before = engine.stats()
    together = answers(engine, requests)
    after = engine.stats()
    assert after.prefix_hits > before.prefix_hits, "no prompt was shared: this shows too little"
    assert after.steps - before.steps < sum(len(result.tokens) for result in together)
    for request, result in zip(requests, together, strict=True):
        alone = engine.submit(replace(request, id="alone")).result(timeout=60)
        assert_close(result, alone)
        rows = plain.logprobs(request.prompt, [token.id for token in result.tokens])
        for row, token in zip(rows, result.tokens, strict=False):
            assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)


def test_what_may_come_next_is_sure_to(served: tuple[Engine, Plain]) -> None:
    """The probabilities of all next tokens, the end among them, sum to one at every place."""
    engine, _ = served
    request = GenRequest("p", (7, 8, 9), max_new_tokens=3, candidates=1000, ignore_eos=True)
    result = engine.submit(request).result(timeout=60)
    for token in result.tokens:
        assert len(token.candidates) >= LARGEST
        total = sum(torch.tensor([value for _, value in token.candidates]).double().exp())
        assert float(total) == pytest.approx(1, abs=1e-5)


def test_what_no_text_has_is_never_answered(served: tuple[Engine, Plain]) -> None:
    """At any temperature no padding, mask or start; an end only ends."""
    engine, _ = served
    never = set(engine.text.never_answered)
    requests = [
        GenRequest(f"n{i}", (7, i), max_new_tokens=12, temperature=30.0, seed=i) for i in range(30)
    ]
    results = answers(engine, requests)
    seen = {token.id for result in results for token in result.tokens}
    assert len(seen) > 50 and not seen & (never | {engine.text.eos_id})
    ends = [result.end.id for result in results if result.end]
    assert set(ends) <= {engine.text.eos_id}


def test_a_prompt_as_long_as_the_window(served: tuple[Engine, Plain]) -> None:
    """The last position is used (RoBERTa counts them from behind its padding), and no more."""
    engine, plain = served
    context = engine.info.context
    prompt = tuple(random.Random(1).randrange(5, LARGEST) for _ in range(context - 2))
    request = GenRequest("full", prompt, max_new_tokens=2, ignore_eos=True)
    result = engine.submit(request).result(timeout=60)
    rows = plain.logprobs(prompt, [result.tokens[0].id])
    for row, token in zip(rows, result.tokens, strict=True):
        assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
    for length in (context - 1, context, context + 1, 513, 2000, 5000):
        if length + 2 > context:
            bad = replace(request, id=f"long{length}", prompt=(7,) * length)
            with pytest.raises(EngineError, match=f"more than the context of {context}"):
                engine.submit(bad).result(timeout=60)


def test_roberta_has_all_its_positions(start: Callable[..., Any]) -> None:
    """514 of them in its config, of which the first stands for padding here."""
    engine = start("roberta")
    assert engine.info.context == 514 - 0 - 1 - len(engine.text.trail)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_greedy_is_generate_for_200_prompts(
    start: Callable[..., Any], folders: Callable[[str], Path], family: str
) -> None:
    engine = start(family)
    plain = Plain(family, plain_model(family, folders(family)), engine.text)
    prompts = random_prompts(200, longest=60)
    requests = [GenRequest(f"g{i}", prompt, max_new_tokens=10) for i, prompt in enumerate(prompts)]
    lengths = set()
    for request, result in zip(requests, answers(engine, requests), strict=True):
        made = [token.id for token in result.tokens]
        end = [result.end.id] if result.end else []
        assert made + end == plain.generate(request.prompt, 10)
        lengths.add(len(made))
    assert max(lengths) == 10, "every answer ended early: this shows too little"


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_long_answers_beside_short_ones(start: Callable[..., Any], family: str) -> None:
    """Columns run out and are made anew; rows leave from the middle; others join behind them."""
    engine = start(family, max_batch=4)
    numbers = random.Random(5)
    requests = [
        GenRequest(
            f"l{i}",
            prompt,
            max_new_tokens=numbers.choice([150, 40, 5]) if family == "t5" else 20,
            ignore_eos=True,
            temperature=1.0,
            seed=i,
        )
        for i, prompt in enumerate(random_prompts(16, longest=100))
    ]
    for request, result in zip(requests, answers(engine, requests), strict=True):
        alone = engine.submit(replace(request, id="alone")).result(timeout=60)
        assert_close(result, alone)


@pytest.mark.parametrize("family", ["t5", "bart", "bert", "deberta-v2"])
def test_deterministic_is_bit_for_bit(start: Callable[..., Any], family: str) -> None:
    """One answer at a time: nothing stands beside it."""
    engine = start(family, deterministic=True)
    requests = mixed(8, longest=40, most=6)
    for request, result in zip(requests, answers(engine, requests), strict=True):
        assert engine.submit(replace(request, id="alone")).result(timeout=60) == result


@pytest.mark.parametrize("family", ["t5", "bart", "distilbert"])
def test_a_stop_inside_a_token(start: Callable[..., Any], family: str) -> None:
    """Every piece of a long text as a stop: text and tokens are cut exactly before it."""
    engine = start(family)
    request = GenRequest(
        "s", (7, 8, 9, 10), max_new_tokens=30, ignore_eos=True, temperature=1.0, seed=2
    )
    whole = engine.submit(request).result(timeout=60)
    text = "".join(token.text for token in whole.tokens)
    assert len(text) > 12
    inside = 0
    for place in range(0, len(text) - 3, 3):
        stop = text[place : place + 3]
        asked = replace(request, id=f"s{place}", stops=(stop, "never there"))
        result = engine.submit(asked).result(timeout=60)
        assert "".join(token.text for token in result.tokens) == text[: text.index(stop)]
        assert result.finish_reason == "stop"
        pairs = zip(result.tokens, whole.tokens, strict=False)
        inside += sum(kept.text != token.text for kept, token in pairs)
    assert inside > 0, "no stop began inside a token: this shows too little"


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_ends(start: Callable[..., Any], family: str) -> None:
    """The least tokens, ends of the request's own, and none at all."""
    engine = start(family)
    free = GenRequest("free", (7, 8, 9), max_new_tokens=20, ignore_eos=True)
    tokens = [token.id for token in engine.submit(free).result(timeout=60).tokens]
    assert len(tokens) == 20
    third = tokens[2]
    ended = engine.submit(replace(free, id="e", ends=(third,))).result(timeout=60)
    assert ended.finish_reason == "eos" and ended.end is not None and ended.end.id == third
    assert len(ended.tokens) == tokens.index(third)
    least = replace(free, id="m", ends=(third,), min_tokens=10)
    assert len(engine.submit(least).result(timeout=60).tokens) >= 10
    assert engine.submit(replace(free, id="0", max_new_tokens=0)).result(60).tokens == ()


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_an_echo_has_the_text_and_no_scores(start: Callable[..., Any], family: str) -> None:
    engine = start(family)
    prompt = engine.text.encode_prompt("the quick brown fox")
    request = GenRequest("e", prompt.ids, prompt.lead, max_new_tokens=3, echo=True)
    result = engine.submit(request).result(timeout=60)
    assert [token.id for token in result.prompt] == list(prompt.ids[prompt.lead :])
    assert {(token.logprob, token.candidates) for token in result.prompt} == {(0.0, ())}
    only = engine.submit(replace(request, id="only", max_new_tokens=0)).result(timeout=60)
    assert only.prompt == result.prompt and not only.tokens
    assert engine.info.unscored


def test_equal_prompts_are_read_once(start: Callable[..., Any]) -> None:
    """Beside each other, and one after the other."""
    engine = start("t5", max_batch=4)
    prompt = tuple(range(10, 60))
    engine.submit(GenRequest("first", prompt, max_new_tokens=2)).result(timeout=60)
    assert engine.stats().prefix_hits == 0
    answers(engine, [GenRequest(f"e{i}", prompt, max_new_tokens=2) for i in range(6)])
    stats = engine.stats()
    assert (stats.prefix_hits, stats.reused_tokens, stats.prompt_tokens) == (6, 300, 350)
    engine.submit(GenRequest("other", prompt[:-1], max_new_tokens=2)).result(timeout=60)
    assert engine.stats().prefix_hits == 6


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_cancel_and_deadline(start: Callable[..., Any], family: str) -> None:
    """Of one that runs and of one that waits; others are answered."""
    engine = start(family, max_batch=1, context=2048)
    endless = GenRequest("long", (7, 8), max_new_tokens=engine.info.context - 2, ignore_eos=True)
    running = engine.submit(endless)
    waiting = engine.submit(replace(endless, id="waiting"))
    while not engine.stats().new_tokens:
        time.sleep(0.001)
    assert 0.0 <= engine.heartbeat() < 10.0
    for name in ("waiting", "long", "unknown"):
        engine.cancel(name)
    for future in (running, waiting):
        with pytest.raises(CancelledError):
            future.result(timeout=10)
    late = replace(endless, id="late", deadline=time.monotonic() + 0.05)
    with pytest.raises(DeadlineExceeded):
        engine.submit(late).result(timeout=10)
    assert engine.submit(replace(endless, id="next", max_new_tokens=1)).result(timeout=10).tokens
    assert engine.heartbeat() < 10


@pytest.mark.parametrize("family", ["t5", "bert"])
def test_a_failed_pass_fails_its_requests_and_no_later_ones(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    engine = start(family)
    good = GenRequest("good", (5, 6), max_new_tokens=3, ignore_eos=True)
    expected = engine.submit(good).result(timeout=30)

    def broken(*given: Any, **named: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine._net._model, "forward", broken)
        for i in range(FAILURES - 1):
            with pytest.raises(EngineError, match="RuntimeError"):
                engine.submit(replace(good, id=f"bad{i}")).result(timeout=30)
    assert_close(engine.submit(replace(good, id="again")).result(timeout=30), expected)


@pytest.mark.parametrize("family", ["t5", "bart", "bert"])
def test_a_damaged_row_fails_alone(start: Callable[..., Any], family: str) -> None:
    """One token's embedding is NaN: only the prompts that have it fail, and none after them."""
    engine = start(family, max_batch=2)
    good = GenRequest("good", (5, 6, 7), max_new_tokens=6, ignore_eos=True)
    expected = engine.submit(good).result(timeout=30)
    with torch.no_grad():  # its head has weights of its own, packed for the CPU
        engine._net._model.get_input_embeddings().weight[LARGEST] = float("nan")
    futures = []
    for i in range(4):
        bad = replace(good, id=f"bad{i}", prompt=(5, LARGEST, 7, 8, 9, 10))
        futures.append((engine.submit(bad), engine.submit(replace(good, id=f"good{i}"))))
    for failed, answered in futures:
        with pytest.raises(EngineError, match="NaN"):
            failed.result(timeout=30)
        assert_close(answered.result(timeout=30), expected)


def test_close_cancels_and_is_final(start: Callable[..., Any]) -> None:
    engine = start("t5")
    running = engine.submit(GenRequest("r", (5,), max_new_tokens=2000, ignore_eos=True))
    engine.close()
    with pytest.raises(CancelledError):
        running.result(timeout=10)
    assert engine.heartbeat() == float("inf")
    with pytest.raises(EngineError, match="closed"):
        engine.submit(GenRequest("late", (5,), max_new_tokens=2)).result(timeout=10)


@pytest.mark.parametrize(
    ("family", "name", "context"), [("t5", "seq2seq", 2047), ("albert", "masked", 513)]
)
def test_what_is_said_of_it(
    start: Callable[..., Any], family: str, name: str, context: int
) -> None:
    info = start(family, context=2047).info
    assert (info.engine, info.context, info.quantization) == (name, context, "none")
