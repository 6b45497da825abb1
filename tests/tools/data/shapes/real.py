"""Small copies in the data sets' real formats."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Maker = Callable[[], bytes]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def comma(rows: list[dict[str, Any]], bom: bytes = b"\xef\xbb\xbf") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return bom + text.getvalue().encode()


DOLLY = [
    {
        "instruction": f"When did company {n} start?",
        "context": f"Company {n} started in {1900 + n}." if n % 2 else "",
        "response": f"Company {n} started in {1900 + n}.",
        "category": "closed_qa",
    }
    for n in range(60)
]
ALPACA = [
    {
        "instruction": f"Name thing {n}",
        "input": "" if n % 2 else f"hint {n}",
        "output": f"Thing {n}",
    }
    for n in range(60)
]
FLAN = [
    {
        "inputs": f"Q: {n} + {n} = ?\nA:",
        "targets": str(2 * n),
        "_template_idx": n % 10,
        "_task_source": "Flan2021",
        "_task_name": "math",
        "_template_type": "fs_opt",
    }
    for n in range(60)
]
SHAREGPT = [
    {
        "id": f"c{n}",
        "conversations": [
            {"from": "system", "value": "You are kind."},
            {"from": "human", "value": f"Hi {n}"},
            {"from": "gpt", "value": f"Hello {n}"},
            {"from": "human", "value": f"And {n} more?"},
            {"from": "gpt", "value": f"Yes, {n} more."},
        ],
    }
    for n in range(60)
]
MESSAGES = [
    {
        "messages": [
            {"role": "user", "content": f"Hi {n}"},
            {"role": "assistant", "content": f"Hello {n}"},
            {"role": "user", "content": [{"type": "text", "text": f"And {n} more?"}]},
            {"role": "assistant", "content": f"Yes, {n} more."},
            {"role": "user", "content": "Thanks."},
        ]
    }
    for n in range(60)
]
LIMA = [
    {
        "conversations": [f"Question {n}?", f"Answer {n}."]
        + ([f"More on {n}?", f"More: {n}."] if n % 10 == 0 else []),
        "source": "stackexchange",
    }
    for n in range(60)
]
OPENBOOKQA = [
    {
        "id": f"7-{n}",
        "question_stem": f"The sun {n} is",
        "choices": {"text": ["hot", "cold", "wet", "dry"], "label": ["A", "B", "C", "D"]},
        "answerKey": "ABCD"[n % 4],
    }
    for n in range(60)
]
MMLU = [
    {
        "question": f"Is {n} even?",
        "subject": "",
        "choices": ["yes", "no", "none of the above"],
        "answer": n % 2,
    }
    for n in range(60)
]
BBQ = [
    {
        "example_id": n,
        "context": f"Person {n} came.",
        "question": "Who came?",
        "ans0": f"Person {n}",
        "ans1": "Another",
        "ans2": "Unknown",
        "label": 0,
    }
    for n in range(60)
]
SCIENCEQA = [
    {
        "image": b"png" if n % 2 else None,
        "question": f"Which is {n}?",
        "choices": ["a", "b"],
        "answer": 1,
        "hint": "",
    }
    for n in range(60)
]
TASK = {
    "Contributors": ["x"],
    "Source": ["quoref"],
    "Definition": ["Write a question."],
    "Positive Examples": [],
    "Instances": [
        {"id": f"task001-{n}", "input": f"Passage {n}", "output": [f"Q{n}?", "or this"]}
        for n in range(60)
    ],
}
QUAC = [
    {
        "dialogue_id": f"d{n}",
        "background": f"About {n}.",
        "context": f"It was {n}. CANNOTANSWER",
        "questions": ["What was it?", "Why?", "Sure?"],
        "answers": {
            "texts": [[f"It was {n}."], ["CANNOTANSWER"], ["Yes."]],
            "answer_starts": [[0], [9], [0]],
        },
    }
    for n in range(60)
]
QUAC_OWN = {
    "data": [
        {
            "background": f"About {n}.",
            "paragraphs": [
                {
                    "context": f"It was {n}. CANNOTANSWER",
                    "qas": [{"question": "What was it?", "answers": [{"text": f"It was {n}."}]}],
                }
            ],
        }
        for n in range(60)
    ]
}


def message(name: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    found = {
        "message_id": name,
        "parent_id": parent,
        "text": text,
        "role": role,
        "lang": "en",
        "review_result": True,
        "deleted": False,
        "rank": None,
        "synthetic": False,
    }
    return found | more


def oasst() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Forty trees as single messages, and whole."""
    flat, trees = [], []
    for n in range(40):
        lang = "de" if n % 5 == 0 else "en"
        prompt = message(f"p{n}", None, "prompter", f"How do I do thing {n}?", lang=lang)
        worse = message(f"w{n}", f"p{n}", "assistant", f"Worse {n}.", lang=lang, rank=1)
        best = message(f"b{n}", f"p{n}", "assistant", f"Best {n}.", lang=lang, rank=0)
        ask = message(f"q{n}", f"b{n}", "prompter", f"And then, {n}?", lang=lang)
        end = message(f"e{n}", f"q{n}", "assistant", f"Rest, {n}.", lang=lang, deleted=n == 7)
        flat += [prompt, worse, best, ask, end]
        replies = [
            {**worse, "replies": []},
            {**best, "replies": [{**ask, "replies": [{**end, "replies": []}]}]},
        ]
        trees.append(
            {
                "message_tree_id": f"t{n}",
                "tree_state": "ready",
                "prompt": {**prompt, "replies": replies},
            }
        )
    return flat, trees


FLAT, TREES = oasst()

#: File name and bytes, keys of the source, the shape that is told, rows that come of it.
FORMATS: dict[str, tuple[str, Maker, dict[str, Any], str, int]] = {
    "dolly": ("dolly.jsonl", lambda: jsonl(DOLLY), {}, "pairs", 60),
    "dolly in gzip": ("dolly.jsonl.gz", lambda: gzip.compress(jsonl(DOLLY)), {}, "pairs", 60),
    "dolly in zstandard": (
        "dolly.jsonl.zst",
        lambda: zstandard.compress(jsonl(DOLLY)),
        {},
        "pairs",
        60,
    ),
    "dolly as Parquet": ("dolly.parquet", lambda: parquet(DOLLY), {}, "pairs", 60),
    "OASST1 messages": ("o.jsonl", lambda: jsonl(FLAT), {"language": "en"}, "tree", 32),
    "OASST1 as Parquet": ("o.parquet", lambda: parquet(FLAT), {}, "tree", 40),
    "OASST1 trees": (
        "o.trees.jsonl.gz",
        lambda: gzip.compress(jsonl(TREES)),
        {"language": "en"},
        "tree",
        32,
    ),
    "Flan": ("flan.jsonl", lambda: jsonl(FLAN), {}, "pairs", 60),
    "ShareGPT": ("s.jsonl", lambda: jsonl(SHAREGPT), {}, "sharegpt", 60),
    "messages": ("m.jsonl", lambda: jsonl(MESSAGES), {}, "messages", 60),
    "LIMA": ("lima.jsonl", lambda: jsonl(LIMA), {}, "turns", 60),
    "Alpaca": ("a.json", lambda: json.dumps(ALPACA).encode(), {}, "pairs", 60),
    "Alpaca indented": ("a.json", lambda: json.dumps(ALPACA, indent=2).encode(), {}, "pairs", 60),
    "CSV with BOM": ("c.csv", lambda: comma(ALPACA), {}, "pairs", 60),
    "CSV in gzip": ("c.csv.gz", lambda: gzip.compress(comma(ALPACA, b"")), {}, "pairs", 60),
    "Natural Instructions": (
        "task001.json",
        lambda: json.dumps(TASK, indent=4).encode(),
        {},
        "ni_task",
        60,
    ),
    "OpenBookQA": ("obqa.jsonl", lambda: jsonl(OPENBOOKQA), {}, "mcq", 60),
    "OpenBookQA as Parquet": ("obqa.parquet", lambda: parquet(OPENBOOKQA), {}, "mcq", 60),
    "MMLU": ("mmlu.parquet", lambda: parquet(MMLU), {}, "mcq", 60),
    "BBQ": ("bbq.jsonl", lambda: jsonl(BBQ), {}, "mcq", 60),
    "ScienceQA": ("sqa.parquet", lambda: parquet(SCIENCEQA), {}, "mcq", 30),
    "QuAC": ("quac.jsonl", lambda: jsonl(QUAC), {}, "quac", 60),
    "QuAC of quac.ai": ("train_v0.2.json", lambda: json.dumps(QUAC_OWN).encode(), {}, "quac", 60),
    "texts": (
        "t.jsonl",
        lambda: jsonl([{"text": f"Document {n}."} for n in range(60)]),
        {},
        "text",
        60,
    ),
}
