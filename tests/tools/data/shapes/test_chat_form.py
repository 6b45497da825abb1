"""Turns in the model's chat template: what is trained is what /v1/chat/completions asks."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from serve.chat import ChatTemplate
from serve.openai import Endpoints
from serve.openai_requests import ChatRequest
from serve.text import TextCodec
from tests.tiny import make_run, recipe
from tests.tools.data.tokenizers import KINDS
from tests.tools.data.tokenizers import saved as model_of
from tools.check.rules import sanity, training
from tools.data import tokens
from tools.data.faults import faults, look
from tools.data.prepare import prepare
from tools.data.reading.fault import Fault
from tools.data.shapes import chats
from tools.data.shapes.base import Exchange
from tools.data.shapes.chat_form import ChatForm
from tools.errors import UserError
from tools.recipe.operators.declared import AnswerFormat
from tools.recipe.schema import Source

#: As Qwen's and SmolLM2's, with whatever ends the model's texts.
CHATML = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
#: As Llama 2's: it writes BOS itself, has no turn for the system, and asks with no words.
INST = (
    "{{ bos_token | default('') }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
#: As Qwen3's: of earlier answers it leaves something out.
REWRITES = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'U: ' + m.content + '\nA:' }}"
    "{% elif loop.last %}{{ ' <think></think>' + m.content + eos_token }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
NO_END = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "inst": INST, "no_end": NO_END}
TALK: list[Exchange] = [("Hello, 東京!", "Hi. 2 + 2?"), ("It's 4.", "Fine"), ("Bye", "See you.")]


def model(folder: Path, template: str | None, kind: str = "byte_level") -> Path:
    """A folder with a tokenizer and a chat template."""
    return model_of(folder, kind, template)


def served(folder: Path, messages: list[dict[str, str]]) -> list[int]:
    """The ids that the server feeds its model for a chat."""
    text = TextCodec.load(folder)
    endpoints = Endpoints(None, text, ChatTemplate.load(folder), "m")  # type: ignore[arg-type]
    return list(endpoints.chat_prompt(ChatRequest.model_validate({"messages": messages})))


def said(lead: str, talk: list[Exchange]) -> list[dict[str, str]]:
    found = [{"role": "system", "content": lead}] if lead else []
    for user, answer in talk:
        found += [{"role": "user", "content": user}, {"role": "assistant", "content": answer or ""}]
    return found


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("learn", ["all", "last"])
def test_the_prompt_of_every_learnt_turn_is_served_so(
    name: str, kind: str, learn: str, tmp_path: Path
) -> None:
    folder, lead = model(tmp_path, TEMPLATES[name], kind), "" if name == "inst" else "Be kind."
    codec, form = TextCodec.load(folder), ChatForm.load(folder)
    assert codec.eos_id is not None
    segments = form.segments(lead, TALK, learn)
    row = tokens.encode(
        codec, [{"label": label, "text": text} for label, text in segments], chat=True
    )
    ids, labels = row["input_ids"], row["labels"]
    learnt = set()
    for turn in range(len(TALK)) if learn == "all" else [len(TALK) - 1]:
        prompt = served(folder, said(lead, TALK[: turn + 1])[:-1])
        assert ids[: len(prompt)] == prompt
        end = ids.index(codec.eos_id, len(prompt)) + 1 if name != "no_end" else len(prompt)
        while name == "no_end" and end < len(ids) and labels[end] != tokens.IGNORED:
            end += 1
        assert labels[len(prompt) : end] == ids[len(prompt) : end]
        learnt |= set(range(len(prompt), end))
        answer = codec.decode(ids[len(prompt) : end]).strip()
        assert answer == TALK[turn][1]
    assert learnt == {at for at, label in enumerate(labels) if label != tokens.IGNORED}
    assert ids[-1] == labels[-1] == codec.eos_id and ids[-2] != codec.eos_id


def test_what_a_template_cannot_hold_is_one_fault(tmp_path: Path) -> None:
    inst = ChatForm.load(model(tmp_path / "a", INST))
    with pytest.raises(Fault, match="roles must alternate user/assistant; take them out of"):
        inst.segments("Be kind.", TALK, "all")
    with pytest.raises(Fault, match="roles must alternate"):
        inst.segments("", [("", "I greet you"), ("Hi", "Ho")], "all")
    rewrites = ChatForm.load(model(tmp_path / "b", REWRITES))
    with pytest.raises(Fault, match=r"set WHERE\.learn to last"):
        rewrites.segments("", TALK, "all")
    assert rewrites.segments("", TALK, "last")[-1] == (True, " <think></think>See you.</s>")
    blank = ChatForm.load(model(tmp_path / "c", NO_END.replace("'assistant:'", "'assistant: '")))
    with pytest.raises(Fault, match="whose last token the answer 'See you"):
        blank.segments("", TALK, "all")
    trims = ChatForm.load(model(tmp_path / "d", INST.replace("' ' + m.content", "' ' + 'x'")))
    with pytest.raises(Fault, match="does not write the answer 'Hi"):
        trims.segments("", TALK, "all")


@pytest.mark.parametrize(
    ("lead", "user", "answer"),
    [("</s>", "a", "b"), ("", "a</s>", "b"), ("", "a", "<s> b")],
)
def test_no_message_becomes_a_special_token(
    lead: str, user: str, answer: str, tmp_path: Path
) -> None:
    form = ChatForm.load(model(tmp_path, CHATML))
    with pytest.raises(Fault, match="a special token of the model"):
        form.segments(lead, [(user, answer)], "all")


def source(path: Path, **fields: Any) -> Source:
    return Source("local", str(path), "MIT", "human", form="chat_template", **fields)


def chat_rows(path: Path, count: int = 40) -> Path:
    rows = [{"messages": said("", [(f"Say {n}.", f"It is {n}.")])} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_of_the_data_stage_are_read_as_chats(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", CHATML)
    own = source(chat_rows(tmp_path / "own.jsonl"))
    run = make_run(tmp_path, data__sources={"own": own}, model__path=str(folder))
    before = run.fingerprint("data")
    prepare(run)
    row = json.loads((run.output("data") / "train.jsonl").read_text().splitlines()[0])
    assert row["form"] == "chat_template"
    file = tokens.files(run, folder)["train"]
    codec = TextCodec.load(folder)
    for line in file.read_text().splitlines():
        learnt = [one for one in json.loads(line)["labels"] if one != tokens.IGNORED]
        assert learnt[-1] == codec.eos_id and learnt.count(codec.eos_id) == 1
        assert codec.decode(learnt).startswith("It is ")
    # Not asked, unless the recipe says so: /process reads no special token.
    assert run.record("data")["metrics"]["test_questions"] == 0  # type: ignore[index]
    model(folder, CHATML.replace("<|' + m", "<| ' + m"))
    assert make_run(tmp_path, **vars_of(run)).fingerprint("data") != before


def vars_of(run: Any) -> dict[str, Any]:
    return {"data__sources": run.recipe.data.sources, "model__path": run.recipe.model.path}


def test_pairs_are_a_chat_of_two_turns_without_labels(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", CHATML)
    path = tmp_path / "own.csv"
    path.write_text("question,answer\n" + "".join(f"What is {n}?,It is {n}.\n" for n in range(40)))
    run = make_run(tmp_path, data__sources={"own": source(path)}, model__path=str(folder))
    prepare(run)
    row = json.loads((run.output("data") / "train.jsonl").read_text().splitlines()[0])
    asked, answered = (one["text"] for one in row["segments"])
    assert asked.startswith("<|user|>\nWhat is ") and asked.endswith("?</s>\n<|assistant|>\n")
    assert answered.startswith("It is ") and answered.endswith(".</s>")


def test_held_out_chats_are_asked_verbatim_without_their_end(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", CHATML)
    own = source(chat_rows(tmp_path / "own.jsonl", 100), answer="text")
    run = make_run(tmp_path, data__sources={"own": own}, model__path=str(folder))
    prepare(run)
    rows = [json.loads(one) for one in (run.output("data") / "test.jsonl").open()]
    assert rows and all(row["verbatim"] and row["format"] == "text" for row in rows)
    assert all(row["output"].endswith(".") and "<|user|>\n" in row["input"] for row in rows)
    codec, asked = TextCodec.load(folder), rows[0]["input"].split("\n")[1][: -len("</s>")]
    prompt = codec.encode_prompt(rows[0]["input"], parse_special=True).ids
    assert list(prompt) == served(folder, [{"role": "user", "content": asked}])


def test_a_row_that_the_template_refuses_is_told_with_its_place(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", INST)
    path = tmp_path / "own.jsonl"
    rows = [{"messages": said("Be kind." if n == 2 else "", TALK)} for n in range(5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = make_run(tmp_path, data__sources={"own": source(path)}, model__path=str(folder))
    with pytest.raises(UserError) as caught:
        prepare(run)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{path}:3: the model's chat template refuses these messages: roles")
    assert look("own", source(path), chat=chats.at_hand(run.recipe)).faults == [fault]


def test_check_says_that_a_model_has_no_template(tmp_path: Path) -> None:
    own = source(chat_rows(tmp_path / "own.jsonl"))
    for template, verdict in ((None, "fail"), (CHATML, "")):
        folder = model(tmp_path / f"model-{verdict}", template)
        mine = recipe(data__sources={"own": own}, model__path=str(folder))
        found = list(training.template(mine, {}))
        assert [one.verdict for one in found] == ([verdict] if verdict else [])
    far = recipe(data__sources={"own": own}, model__source="hub", model__id="no/such")
    (fault,) = training.template(far, {})
    assert fault.verdict == "warn" and "not here yet" in fault.message
    bare = model(tmp_path / "bare", None)
    with pytest.raises(UserError, match="has no chat template; set form to plain"):
        chats.form(recipe(data__sources={"own": own}, model__path=str(bare)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": "mcq"}, "form: shape mcq has no turns for a chat template"),
        ({"shape": "text"}, "form: shape text has no turns for a chat template"),
        (
            {"shape": "messages", "prompt": "Q: {user}"},
            "prompt: the chat template writes the turns",
        ),
        ({"answer": "letter"}, "answer: letter: a chat is asked without examples"),
        (
            {"operators": [{"answer_format": AnswerFormat("letter")}]},
            "operators[0].answer_format: not for form: chat_template",
        ),
    ],
)
def test_what_does_not_go_with_a_chat(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    own = source(chat_rows(tmp_path / "own.jsonl"), **fields)
    (fault,) = faults({"own": own})
    assert fault.startswith(f"data.sources.own.{said}")


def test_a_file_without_turns_is_told_by_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "q", "choices": ["a", "b"], "answer": "A"}\n')
    (fault,) = look("own", source(path)).faults
    assert f"{path}: data.sources.own.form: shape mcq has no turns" in fault


def test_chats_are_asked_where_serving_reads_special_tokens(tmp_path: Path) -> None:
    own = source(chat_rows(tmp_path / "own.jsonl"), answer="text")
    mine = recipe(data__sources={"own": own})
    (fault,) = sanity.asked(mine, {})
    assert fault.verdict == "fail" and "serve.parse_special=true" in fault.remedy
    reads = dataclasses.replace(mine.serve, parse_special=True)
    assert not list(sanity.asked(dataclasses.replace(mine, serve=reads), {}))


def test_operators_on_the_mix_leave_chats_as_they_are(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", CHATML)
    own = source(chat_rows(tmp_path / "own.jsonl"))
    steps = [{"answer_format": AnswerFormat("letter")}]
    run = make_run(
        tmp_path,
        data__sources={"own": own},
        data__operators=steps,
        model__path=str(folder),
    )
    prepare(run)
    assert run.record("data")["metrics"]["train_rows"] > 30  # type: ignore[index]
