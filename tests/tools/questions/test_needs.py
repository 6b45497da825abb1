"""Which files entries need, and that their addresses are HELM's own."""

import re
from pathlib import Path

import pytest

from tools.questions import needs as table
from tools.questions import tiers
from tools.questions.needs import needs
from tools.recipe.run_entries import HELM

ROOT = Path(__file__).resolve().parents[3]


def paths(entry: str) -> list[str]:
    return [need.path for need in needs(entry)]


def test_what_each_entry_needs() -> None:
    assert paths("mmlu:subject=law,model=x") == [
        "scenarios/mmlu/data/dev/law_dev.csv",
        "scenarios/mmlu/data/val/law_val.csv",
        "scenarios/mmlu/data/test/law_test.csv",
    ]
    assert paths("gsm:model=x") == ["scenarios/gsm/gsm_data_train", "scenarios/gsm/gsm_data_test"]
    assert paths("truthful_qa:task=mc_single") == ["scenarios/truthful_qa/data/TruthfulQA.csv"]
    assert len(paths("bbq:subject=all")) == 11
    assert paths("bbq:subject=Age") == ["scenarios/bbq/data/Age"]
    assert paths("big_bench:task=a,subtask=") == ["scenarios/big_bench/a/task.json"]
    assert paths("big_bench:task=a,subtask=b") == ["scenarios/big_bench/a/b/task.json"]
    assert paths("summarization_cnndm") == ["scenarios/summarization/data/cnndm.pk"]
    assert paths("simple_mcqa") == paths("oneday:skill=x") == []


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("canonical", 2),
        ("fairness", 2),
        ("dialect_easy", 1),
        ("person_name_first", 1),
        ("typos", 0),
    ],
)
def test_perturbations_need_words(name: str, count: int) -> None:
    found = [path for path in paths(f"gsm:data_augmentation={name}") if "perturbations" in path]
    assert len(found) == count


def test_every_scenario_of_the_stages_is_known() -> None:
    for name in tiers.stages():
        for entry in tiers.stage(name):
            assert needs(entry), entry


def test_addresses_are_those_of_the_installed_helm() -> None:
    folders = list((ROOT / HELM).glob("lib/python*/site-packages/helm/benchmark"))
    if not folders:
        pytest.skip(f"HELM is not installed in {ROOT / HELM}: make helm")
    files = [*folders[0].glob("scenarios/*.py"), *folders[0].glob("augmentations/*.py")]
    source = re.sub(
        r'"\s*\n\s*f?"', "", "".join(file.read_text(encoding="utf-8") for file in files)
    )
    urls = [table._MMLU, table._GSM, table._TRUTHFUL, table._BBQ, table._BIG_BENCH, table._MATH]
    urls += [
        table._DIALECT,
        table._NAMES,
        *(f"{table._SUMMARIES}/{x}.pk" for x in ("cnndm", "xsum")),
    ]
    assert [url for url in urls if url not in source] == []
