"""Jobs for models that read a prompt as a whole: what is fed, what is echoed, what is answered."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import serve.engine
from serve.engine.base import GenResult, GenToken
from serve.text import TextCodec
from serve.worker import Worker
from tests.serve.kinds import ALBERT, BYTES, CASED, KINDS, LOSSY, T5, UNCASED, load
from tests.serve.test_worker import FakeEngine, answer, job, report, worker

SHOTS = "Be brief.\n\n" + "\n\n".join(f"Question: {n}\nAnswer: A" for n in range(5, 9))
ASKED = f"{SHOTS}\n\nQuestion: Which box?\nAnswer:"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    root = tmp_path_factory.mktemp("kinds")
    return {kind: load(kind, root) for kind in KINDS}


class Echo(FakeEngine):
    """Gives the prompt's tokens back, its text wrong, then what it is to say."""

    def __init__(self, text: TextCodec, *said: str, context: int = 2048) -> None:
        super().__init__(text, None)
        self.info = replace(self.info, context=context)
        self._said = said

    def submit(self, request: Any) -> Any:
        prompt = [GenToken(one, "?", -0.5, ()) for one in request.prompt[request.lead :]]
        said = [GenToken(9, text, -1.0, ((text, -1.0),), text) for text in self._said]
        echoed = tuple(prompt) if request.echo else ()
        self._outcome = GenResult(tuple(said)[: request.max_new_tokens], "length", echoed)
        return super().submit(request)


def reader(engine: Any, **config: Any) -> Worker:
    """A worker of a model that reads prompts as a whole."""
    built = worker(engine, **config)
    built._reads_whole = True
    return built


@pytest.mark.parametrize("kind", LOSSY)
@pytest.mark.parametrize("text", [ASKED, " The\n\nend ", "\n\n", "", "[MASK] é 東</s>"])
def test_an_echo_is_the_prompt(kinds: dict[str, TextCodec], kind: str, text: str) -> None:
    """Every token has its slice of the prompt, line ends and capitals included."""
    for special in (False, True):
        built = reader(Echo(kinds[kind], " A"), parse_special=special)
        made = answer(built, job(text, echo_prompt=True, max_new_tokens=1))
        assert made["text"] == f"{text} A"
        prompt = kinds[kind].encode_prompt(text, special)
        assert len(made["tokens"]) == 1 + max(len(prompt.ids) - prompt.lead, bool(text))
        assert made["tokens"][-1]["logprob"] == -1.0


@pytest.mark.parametrize("kind", KINDS)
def test_whole_examples_are_left_out(kinds: dict[str, TextCodec], kind: str) -> None:
    codec = kinds[kind]
    length, shot = len(codec.encode_prompt(ASKED).ids), len(codec.encode("\n\n" + SHOTS[11:34]))
    engine = Echo(codec, " A", context=length)
    made = answer(reader(engine), job(ASKED, max_new_tokens=1))
    left = f"Be brief.\n\n{ASKED[ASKED.index('Question: 6') :]}"
    assert engine.requests[0].prompt == codec.encode_prompt(left).ids
    assert made["truncated_tokens"] == length - len(codec.encode_prompt(left).ids) > shot // 2
    if kind in LOSSY:  # of the others the engine tells it
        echo = answer(reader(engine), job(ASKED, max_new_tokens=1, echo_prompt=True))
        assert echo["text"] == f"{left} A"


def test_a_causal_model_loses_the_head_as_before(kinds: dict[str, TextCodec]) -> None:
    codec = kinds[BYTES]
    ids = codec.encode_prompt(ASKED).ids
    engine = Echo(codec, " A", context=len(ids))
    assert answer(worker(engine), job(ASKED, max_new_tokens=1))["truncated_tokens"] == 1
    assert engine.requests[0].prompt == (ids[0], *ids[2:])


@pytest.mark.parametrize(
    ("kind", "text"), [(UNCASED, " B"), (ALBERT, " B"), (CASED, " b"), (T5, " b"), (BYTES, " b")]
)
def test_a_letter_is_a_capital_where_the_model_has_none(
    kinds: dict[str, TextCodec], kind: str, text: str
) -> None:
    built = reader(Echo(kinds[kind], " b"))
    made = answer(built, job(ASKED, max_new_tokens=1))
    assert made["text"] == text and list(made["tokens"][0]["top_logprob"]) == [text]
    hits = {step for _, step, _ in report(built)["figures"]["rule_hits"]}
    assert ("capital_letter" in hits) is (text == " B")
    words = reader(Echo(kinds[kind], " b", " or", " c"))
    assert answer(words, job(ASKED, max_new_tokens=3))["text"] == " b or c"


def test_the_recipe_can_leave_letters_as_they_are(kinds: dict[str, TextCodec]) -> None:
    built = reader(Echo(kinds[UNCASED], " b"), capital_letters=False)
    assert answer(built, job(ASKED, max_new_tokens=1))["text"] == " b"


@pytest.mark.parametrize(("family", "whole"), [("bert", True), ("llama", False)])
def test_the_worker_asks_the_folder(
    kinds: dict[str, TextCodec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    whole: bool,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    engine = Echo(kinds[UNCASED], " b")
    monkeypatch.setattr(serve.engine, "build_engine", lambda *_: engine)
    built = worker(None)
    built._model_dir = tmp_path
    built._load()
    assert built._reads_whole is whole
