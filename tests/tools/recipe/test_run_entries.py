"""Run entries: HELM's names as HELM has them, and what is misspelt is told."""

import json
import re
from pathlib import Path

import pytest

from tools.recipe.run_entries import HELM, STORED, entry_faults, generate

ROOT = STORED.parents[3]
CONFS = ROOT.parent / "shared" / "data"


def test_stored_is_regenerated() -> None:
    venv = ROOT / HELM
    if not venv.is_dir():
        pytest.skip(f"HELM is not installed in {venv}: make helm")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert generate(venv) == stored, "run: python -m tools.recipe.run_entries"
    assert len(stored["run_specs"]) > 250 and "max_train_instances" in stored["expanders"]


def faults(*entries: object) -> dict[int, str]:
    found = entry_faults({"tiers": {"quick": list(entries)}})
    return {int(path[-1]): text for path, (text, _) in found.items()}


def test_right_entries() -> None:
    right = [
        "oneday:max_eval_instances=50",
        "oneday:skill=boxes",
        "simple_mcqa",
        "mmlu:subject=law,data_augmentation=canonical,max_train_instances=5",
        "big_bench:task=novel_concepts,subtask=",
        "ice:anything=1",
    ]
    assert faults(*right) == {}


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("", "HELM has no run spec ''"),
        ("mmul:subject=law", "HELM has no run spec 'mmul'; did you mean mm"),
        ("mmlu:subjct=law", "mmlu takes no subjct; did you mean subject?; mmlu needs subject=…"),
        ("mmlu:subject=law,max_eval_instance=3", "did you mean max_eval_instances?"),
        ("mmlu", "mmlu needs subject=…"),
        ("simple_mcqa:", "'': write argument=value"),
        ("simple_mcqa:max_eval_instances", "'max_eval_instances': write argument=value"),
        ("mmlu:subject=law,subject=art", "subject twice; keep one"),
        ("simple_mcqa:model=neurips/local", "leave model= out"),
        ("oneday:skil=boxes", "oneday takes no skil; did you mean skill?"),
    ],
)
def test_wrong_entries(entry: str, fault: str) -> None:
    assert fault in faults("simple_mcqa", entry)[1]


@pytest.mark.parametrize(
    "section", [None, 3, {}, {"tiers": 3}, {"tiers": {"quick": 3}}, {"tiers": {"quick": [3, None]}}]
)
def test_shape_is_the_schemas_to_tell(section: object) -> None:
    assert entry_faults(section) == {}


def test_the_open_stages_entries_are_right() -> None:
    if not CONFS.is_dir():
        pytest.skip(f"no {CONFS}")
    entries: list[str] = []
    for file in Path(CONFS).glob("run_specs_open_*.conf"):
        entries += re.findall(r'description: "([^"]+)"', file.read_text(encoding="utf-8"))
    ours = [re.sub(r"model=neurips/local,?", "", entry).rstrip(",:") for entry in entries]
    assert len(ours) > 100
    assert faults(*ours) == {}
