"""The catalogue's layers on small copies of their sets: shape, columns and operators together."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tests.tools.data.shapes import real
from tools.data.prepare import prepare
from tools.recipe.load import load
from tools.run.folder import Run

GSM8K = [
    {
        "question": f"What is {n} + {n}?",
        "answer": f"Twice {n} is <<{n}+{n}={2 * n}>>{2 * n}.\nSo it is.\n#### {2 * n}",
    }
    for n in range(60)
]
MATHINSTRUCT = [
    {
        "source": "data/CoT/gsm_train.json" if n % 3 else "data/PoT/gsm_gpt4.json",
        "instruction": f"What is {n} + 1?",
        "output": f"It is {n + 1}.",
    }
    for n in range(60)
]
PLATYPUS = [
    {
        "input": "",
        "instruction": f"Why {n}?",
        "output": f"Because {n}.",
        "data_source": "ARB" if n % 2 else "airoboros",
    }
    for n in range(60)
]
NATURAL = [
    {
        "task_name": ["task2_sums", "task687_mmmlu_physics"][n % 2],
        "id": str(n),
        "definition": "Add one.",
        "inputs": str(n),
        "targets": str(n + 1),
    }
    for n in range(60)
]
FLAT = [
    {**one, "synthetic": True} if one["message_id"] in ("b1", "e3") else one for one in real.FLAT
]
#: By layer: rows in the set's form, rows of them that stay, and texts that one row is made of.
SETS: dict[str, tuple[list[dict[str, Any]], int, tuple[str, ...]]] = {
    "databricks-dolly-15k": (
        real.DOLLY,
        60,
        ("Question: When did company 2 start?\nAnswer:", " Company 2 started in 1902."),
    ),
    "gsm8k": (
        GSM8K,
        60,
        ("Question: What is 7 + 7?\nAnswer:", " Twice 7 is 14. So it is. The answer is 14."),
    ),
    "mathinstruct": (MATHINSTRUCT, 40, ("Question: What is 4 + 1?\nAnswer:", " It is 5.")),
    "open-platypus": (PLATYPUS, 30, ("Question: Why 7?\nAnswer:", " Because 7.")),
    "natural-instructions": (NATURAL, 30, ("Add one.\n\n8\n", "9")),
    "flan": (real.FLAN, 60, ("Q: 3 + 3 = ?\nA:\n", "6")),
    "openbookqa": (real.OPENBOOKQA, 60, ()),
    "scienceqa": ([{**one, "image": one["image"] and "png"} for one in real.SCIENCEQA], 30, ()),
    "bbq": ([{**one, "answer_label": one["label"]} for one in real.BBQ], 60, ()),
    "mmlu-auxiliary-train": (real.MMLU, 60, ()),
    "lima": (real.LIMA, 60, ("Question: Question 7?\nAnswer:", " Answer 7.")),
    "quac": (real.QUAC, 60, ()),
    "oasst1": (
        FLAT,
        32,
        ("Question: How do I do thing 3?\nAnswer:", " Best 3."),
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_a_named_set_is_read_as_its_layer_says(name: str, tmp_path: Path) -> None:
    rows, count, segments = SETS[name]
    (tmp_path / "my.yaml").write_text(
        f"defaults: [cpu, debug/no-sources, data/catalogue/{name}]\n", encoding="utf-8"
    )
    (tmp_path / "rows.jsonl").write_bytes(real.jsonl(rows))
    ((key, source),) = load(tmp_path / "my.yaml").recipe.data.sources.items()
    file: dict[str, Any] = {
        "kind": "jsonl",
        "path": str(tmp_path / "rows.jsonl"),
        "files": [],
        "rows": None,
    }
    source = dataclasses.replace(source, **file, subset="", split="train", revision="")
    mine = recipe(data__sources={key: source}, data__test_rows=0, data__validation_rows=2)
    run = Run(mine, tmp_path / "runs")
    prepare(run)
    made = [
        [segment["text"] for segment in json.loads(line)["segments"]]
        for split in ("train", "validation")
        for line in (run.output("data") / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]
    if name in ("openbookqa", "scienceqa", "bbq", "mmlu-auxiliary-train"):
        made = [one for row in made for one in zip(row[::2], row[1::2], strict=True)]  # type: ignore[misc]
        assert all(answer in (" A", " B", " C", " D") for _, answer in made)
    if segments:
        assert any(tuple(row[: len(segments)]) == segments for row in made)
    assert len(made) == count
    if name == "oasst1":
        assert not any(text in str(made) for text in ("Best 1.", "Rest, 3."))
        assert "Worse 1." in str(made)


NEWS = [
    {"article": f"Ship {n} sank off port {n} at {n} today.", "highlights": f"A ship sank at {n}."}
    for n in range(60)
]
BIRBAL: dict[str, list[dict[str, Any]]] = {
    "natural_instructions": NATURAL,
    "mathinstruct": MATHINSTRUCT,
    "platypus": PLATYPUS,
    "openbookqa": real.OPENBOOKQA,
    "quac": real.QUAC,
    "cnn_dailymail": NEWS,
    "lima": real.LIMA,
}


def test_the_winners_curation_runs_to_its_end_on_small_copies(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(
        "defaults: [presets/birbal, debug/no-sources, data/birbal]\n", encoding="utf-8"
    )
    loaded = load(tmp_path / "my.yaml").recipe.data
    assert loaded.sources.keys() == BIRBAL.keys()
    sources = {}
    for name, rows in BIRBAL.items():
        file = tmp_path / f"{name}.jsonl"
        file.write_bytes(real.jsonl(rows))
        here = {"kind": "jsonl", "path": str(file), "files": [], "subset": "", "revision": ""}
        sources[name] = dataclasses.replace(loaded.sources[name], **here, split="train")  # type: ignore[arg-type]
        if len(rows) < (sources[name].rows or 0):
            sources[name].rows = None
    data = dataclasses.replace(loaded, sources=sources, validation_rows=7)
    run = Run(recipe(data=data), tmp_path / "runs")
    asked: list[str] = []

    def answers(prompts: Sequence[str], completions: Sequence[str]) -> list[str]:
        asked.extend(prompts)
        return [one if int(one) % 3 else "none" for one in completions]  # each third wrong

    prepare(run, answers=answers)
    record = run.record("data")
    assert record and len(asked) == 30  # the tasks that HELM asks were denied before
    texts = (run.output("data") / "train.jsonl").read_text("utf-8").splitlines()
    made = [json.loads(line) for line in texts]
    prompts: dict[str, list[str]] = {}
    for row in made:
        prompts.setdefault(row["skill"], []).append(row["segments"][0]["text"])
    assert prompts.keys() == BIRBAL.keys()
    assert all("### Input:\n" in one for some in prompts.values() for one in some)
    assert all(row["segments"][-2]["text"].endswith("### Response:\n") for row in made)
    natural = [one["segments"] for one in made if one["skill"] == "natural_instructions"]
    assert natural and all(int(one[-1]["text"]) % 3 == 0 for one in natural)
    lower = [one for one in prompts["mathinstruct"] if "what is" in one]
    assert 0 < len(lower) < len(prompts["mathinstruct"])
    done = {one["key"].rpartition(".")[2] for one in record["metrics"]["operators"]}
    assert {"deny", "allow", "score", "sample", "augment", "near_dedup", "decontaminate"} <= done
    read, learnt = record["metrics"]["read"], record["metrics"]["by_source"]
    assert read["mathinstruct"] == 60 and learnt["mathinstruct"] <= 40
    assert learnt["platypus"] <= 30
