"""The questions in HELM's files: those that are asked, of every scenario that the tiers know."""

import pickle
from pathlib import Path

import pytest

from tests.tools.evaluate.helm import open_data
from tools.errors import UserError
from tools.questions.asked import asked
from tools.questions.data import Data

ENTRIES = [
    "mmlu:subject=anatomy",
    "gsm:",
    "truthful_qa:task=mc_single",
    "bbq:subject=Age",
    "big_bench:task=winowhy,subtask=",
    "summarization_cnndm:temperature=0.3",
    "math:subject=algebra,level=1,use_official_examples=False",
    "oneday",
]


def found(folder: Path, entries: list[str] = ENTRIES) -> dict[str, list[str]]:
    return asked(entries, Data(entries, str(folder), store=None))


def test_every_scenario_has_its_questions(tmp_path: Path) -> None:
    open_data.make(tmp_path, ENTRIES)
    questions = found(tmp_path)
    assert {name: len(texts) for name, texts in questions.items()} == {
        "mmlu": 24, "gsm": 12, "truthful_qa": 40, "bbq": 100, "big_bench": 60,
        "summarization_cnndm": 25, "math": 140, "oneday": 0,
    }  # fmt: skip
    assert questions["truthful_qa"][3] == "Is 3 odd?"
    assert questions["bbq"][0].startswith("Two met at stop 0:")
    assert questions["mmlu"][0].endswith("Mary and John don't know.")


def test_training_rows_of_a_scenario_are_no_questions(tmp_path: Path) -> None:
    open_data.make(tmp_path, ["gsm:", "mmlu:subject=anatomy"])
    (tmp_path / "scenarios/gsm/gsm_data_train").write_text('{"question": "TRAIN", "answer": ""}\n')
    dev = tmp_path / "scenarios/mmlu/data/dev/anatomy_dev.csv"
    dev.write_text("DEV,a,b,c,d,A\n")
    texts = sum(found(tmp_path, ["gsm:", "mmlu:subject=anatomy"]).values(), [])  # noqa: RUF017
    assert "TRAIN" not in texts and "DEV" not in texts


def test_files_that_hold_something_else_are_told(tmp_path: Path) -> None:
    entries = ["gsm:", "truthful_qa:task=mc_single", "summarization_cnndm:temperature=0.3"]
    open_data.make(tmp_path, entries)
    (tmp_path / "scenarios/gsm/gsm_data_test").write_text('{"q": 1}\n')
    (tmp_path / "scenarios/truthful_qa/data/TruthfulQA.csv").write_text("a,b\n1,2\n")
    path = tmp_path / "scenarios/summarization/data/cnndm.pk"
    path.write_bytes(pickle.dumps(Path))
    with pytest.raises(UserError) as caught:
        found(tmp_path, entries)
    gsm, truthful, cnndm = caught.value.faults
    assert "gsm_data_test: not a file of HELM's gsm ('question')" in gsm
    assert "TruthfulQA.csv: not a file of HELM's truthful_qa ('Question')" in truthful
    assert "cnndm.pk: holds pathlib" in cnndm and "only plain values are read" in cnndm
