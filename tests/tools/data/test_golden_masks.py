"""What is learnt of each shape, token by token, on three kinds of tokenizers, as written down.

``golden_masks.json`` holds ids and labels. Marked here is the text that is learnt: ``⟦…⟧``.
"""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from serve.chat import ChatTemplate
from serve.openai import Endpoints
from serve.openai_requests import ChatRequest
from serve.text import TextCodec
from tests.tools.data.shapes.test_chat_form import CHATML
from tests.tools.data.tokenizers import KINDS, saved
from tools.data import tokens
from tools.data.shapes.chat_form import ChatForm
from tools.data.sources import Limits, read
from tools.recipe.schema import Source

GOLDEN = json.loads(Path(__file__).with_name("golden_masks.json").read_text("utf-8"))
TURNS = ["Who said it?", "It was Ann.", "When, in 1999?", "Yes."]
FIRST = "Question: Who said it?\nAnswer:⟦ It was Ann.⟧"
BOTH = f"{FIRST}\n\nQuestion: When, in 1999?\nAnswer:⟦ Yes.⟧"
MESSAGES = [
    {"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(TURNS)
]
#: By name: a record, keys of its source, and what becomes of it.
SHAPES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "pairs": (
        {"question": "What is two plus two?", "answer": "4"},
        {},
        "Question: What is two plus two?\nAnswer:⟦ 4⟧",
    ),
    "messages": ({"messages": MESSAGES}, {}, BOTH),
    "sharegpt": (
        {
            "conversations": [
                {"from": ("human", "gpt")[at % 2], "value": text} for at, text in enumerate(TURNS)
            ]
        },
        {"learn": "last"},
        BOTH.replace(FIRST, FIRST.replace("⟦", "").replace("⟧", "")),
    ),
    "turns": ({"conversations": TURNS}, {}, BOTH),
    "text": ({"text": "The café, 東京.\n\nIt is fine."}, {}, "⟦The café, 東京.\n\nIt is fine.⟧"),
    "tree": (
        {
            "message_tree_id": "t",
            "tree_state": "ready_for_export",
            "prompt": {
                "message_id": "a",
                "text": TURNS[0],
                "role": "prompter",
                "replies": [
                    {"message_id": "b", "text": "No.", "role": "assistant", "rank": 1},
                    {"message_id": "c", "text": TURNS[1], "role": "assistant", "rank": 0},
                ],
            },
        },
        {},
        FIRST,
    ),
    "mcq": (
        {"question": "What is two plus two?", "choices": ["3", "all of the above"], "answer": "A"},
        {},
        "Question: What is two plus two?\nA. 3\nB. all of the above\nAnswer:⟦ A⟧",
    ),
    "ni_task": (
        {"Definition": ["Add one."], "Instances": [{"input": "1", "output": ["2"]}]},
        {},
        "Add one.\n\n1\n⟦2⟧",
    ),
    "quac": (
        {
            "context": "Ann said it. CANNOTANSWER",
            "questions": [TURNS[0], "Why?", TURNS[2]],
            "answers": {"texts": [[TURNS[1]], ["CANNOTANSWER"], [TURNS[3]]]},
        },
        {},
        f"Ann said it.\n\n{BOTH}",
    ),
    "chat": (
        {"messages": [{"role": "system", "content": "Be kind."}, *MESSAGES]},
        {"form": "chat_template"},
        "<|system|>\nBe kind.</s>\n<|user|>\nWho said it?</s>\n<|assistant|>\n⟦It was Ann.</s>⟧\n"
        "<|user|>\nWhen, in 1999?</s>\n<|assistant|>\n⟦Yes.</s>⟧",
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tokenizers, with a chat template."""
    root = tmp_path_factory.mktemp("tokenizers")
    return {kind: saved(root / kind, kind, CHATML) for kind in KINDS}


def segments(name: str, folder: Path, scratch: Path) -> list[dict[str, Any]]:
    """One record's row, by way of a file and the data stage's reader."""
    record, keys, _ = SHAPES[name]
    file = scratch / "own.jsonl"
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    source = Source("local", str(file), "MIT", "human", **keys)
    chat = ChatForm.load(folder) if name == "chat" else None
    (item,) = read("own", source, 0, Limits(1000, "1/own", chat=chat), scratch).pairs
    return item.segments()


def row(name: str, folder: Path, scratch: Path) -> dict[str, list[int]]:
    """The same as token ids."""
    made = segments(name, folder, scratch)
    return tokens.encode(TextCodec.load(folder), made, chat=name == "chat")


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_learnt_of_a_record(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    made = segments(name, folders["byte_level"], tmp_path)
    marked = "".join(f"⟦{one['text']}⟧" if one["label"] else one["text"] for one in made)
    assert marked == SHAPES[name][2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_ids_and_labels_are_as_written_down(
    name: str, kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    made = row(name, folders[kind], tmp_path)
    assert [made["input_ids"], made["labels"]] == GOLDEN[kind][name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_golden_ids_are_those_that_serving_gives_and_goes_on_from(
    name: str, kind: str, folders: dict[str, Path]
) -> None:
    ids, labels = GOLDEN[kind][name]
    codec, marked = TextCodec.load(folders[kind]), SHAPES[name][2]
    starts = [at for at in range(len(ids)) if labels[at] != tokens.IGNORED]
    runs = [at for before, at in pairwise([-2, *starts]) if at != before + 1]
    spans = list(re.finditer("⟦(.*?)⟧", marked, re.S))
    for span, start in zip(spans, runs, strict=True):
        shown = re.sub("[⟦⟧]", "", marked[: span.start()])
        if name == "text":
            # Of a document the first token is learnt only where a BOS stands before it.
            assert start == 1
            continue
        prompt = served(folders[kind], shown) if name == "chat" else codec.encode_prompt(shown).ids
        assert ids[: len(prompt)] == list(prompt)
        assert start == len(prompt), "the first token of the answer is not learnt"
        end = next((at for at in range(start, len(ids)) if labels[at] != ids[at]), len(ids))
        assert codec.decode(ids[:end]).endswith(span[1].removesuffix("</s>"))
    assert ids[-1] == labels[-1] == codec.eos_id
    assert ids.count(codec.eos_id) == (5 if name == "chat" else 1)


def served(folder: Path, shown: str) -> tuple[int, ...]:
    """The ids of /v1/chat/completions for the messages that a rendered prompt holds."""
    said = re.findall(r"<\|(\w+)\|>\n(.*?)</s>", shown, re.S)
    messages = [{"role": role, "content": text} for role, text in said]
    codec = TextCodec.load(folder)
    endpoints = Endpoints(None, codec, ChatTemplate.load(folder), "m")  # type: ignore[arg-type]
    return endpoints.chat_prompt(ChatRequest.model_validate({"messages": messages}))
