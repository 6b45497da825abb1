"""The catalogue: every set that is named, its facts whole, its layer true to them."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from tools.check import catalogue
from tools.check.catalogue import Entry
from tools.check.findings import check
from tools.data.faults import faults
from tools.errors import UserError
from tools.recipe import yaml_map
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.recipe.operators.declared import Deny
from tools.recipe.schema import Source

FILES = {file.stem: file for file in catalogue.files()}
#: The sets that the rules and the finalists name, with their commit's first digits, empty where
#: none is known, and the licence that rules.
NAMED = {
    "databricks-dolly-15k": ("bdd27f4", "CC-BY-SA-3.0"),
    "oasst1": ("fdf72ae", "Apache-2.0"),
    "flan": ("", "CC-BY-4.0"),
    "lima": ("68958e9", "CC-BY-NC-SA-4.0"),
    "natural-instructions": ("a29a975", "Apache-2.0"),
    "mathinstruct": ("b4fdc32", "mixed"),
    "open-platypus": ("37141ed", "mixed"),
    "openbookqa": ("388097e", "unknown"),
    "quac": ("", "CC-BY-SA-4.0"),
    "cnn-dailymail": ("96df5e6", "Apache-2.0"),
    "samsum": ("6b929ff", "CC-BY-NC-ND-4.0"),
    "gsm8k": ("740312a", "MIT"),
    "mmlu-auxiliary-train": ("c30699e", "MIT"),
    "bbq": ("", "CC-BY-4.0"),
    "scienceqa": ("f18b0a7", "CC-BY-NC-SA-4.0"),
}
#: Facts in which nobody could be believed: `check` warns of them.
UNVERIFIED = {
    "flan": {"commit", "licence"}, "bbq": {"commit", "licence"}, "quac": {"commit"},
    "samsum": {"commit"}, "lima": {"licence"}, "cnn-dailymail": {"licence"},
    "mmlu-auxiliary-train": {"licence"},
}  # fmt: skip
SHAPES = {"pairs", "messages", "sharegpt", "turns", "text", "tree", "mcq", "ni_task", "quac"}


def layer(name: str, folder: Path) -> Source:
    """The one source of a catalogue's file, as a recipe gets it."""
    (folder / "layer.yaml").write_text(
        f"defaults: [cpu, debug/no-sources, data/catalogue/{name}]\n", encoding="utf-8"
    )
    (source,) = load(folder / "layer.yaml").recipe.data.sources.values()
    return source


def entry(name: str) -> Entry:
    return catalogue.read(FILES[name])


def test_every_named_set_has_a_file() -> None:
    assert FILES.keys() == NAMED.keys()


@pytest.mark.parametrize("name", NAMED)
def test_the_facts_have_their_shape(name: str) -> None:
    """As a validator of types sees it; reading does not look."""
    facts = yaml_map.read(FILES[name])["catalogue"]
    assert TypeAdapter(Entry).validate_python(facts) == entry(name)


@pytest.mark.parametrize("name", NAMED)
def test_the_facts_are_whole(name: str) -> None:
    found = entry(name)
    commit, licence = NAMED[name]
    assert found.commit[:7] == commit and (
        not commit or re.fullmatch(r"[0-9a-f]{40}", found.commit)
    )
    assert found.licence == licence
    assert found.commit_from and found.stated_by and found.made_by and found.defects
    assert found.shape in SHAPES and len(found.columns) > 1
    assert set(found.unverified) == UNVERIFIED.get(name, set())
    assert bool(found.parts) == bool(found.column) == (licence == "mixed")
    if found.column:
        assert found.column in found.columns
        assert all(part.stated_by for part in found.parts.values())
    if found.asked:
        assert found.asked.column in found.columns


@pytest.mark.parametrize("name", NAMED)
def test_the_layer_is_true_to_the_facts(name: str, tmp_path: Path) -> None:
    found, source = entry(name), layer(name, tmp_path)
    assert source.path == found.id and catalogue.find(source) is found
    assert source.revision in (found.commit, "refs/convert/parquet")
    assert (source.shape or "pairs") == found.shape
    assert not faults({name: source})
    kept = found.kept(source)
    assert source.origin == "human" and {part.origin for part in kept.values()} <= {"human"}
    assert source.licence in {part.licence for part in kept.values()} | {found.licence}


@pytest.mark.parametrize("name", ["natural-instructions"])
def test_what_helm_asks_is_left_out_by_the_layer(name: str, tmp_path: Path) -> None:
    asked, source = entry(name).asked, layer(name, tmp_path)
    assert asked
    assert all(catalogue.left_out(source, asked.column, value) for value in asked.values)


#: Names of tasks as the owner's list has them, and whether HELM asks their questions.
TASKS = {
    "task687_mmmlu_answer_generation_college_chemistry": True,
    "task724_mmmlu_answer_generation_moral_scenarios": True,
    "task1389_hellaswag_completion": True,
    "task380_boolq_yes_no_question": True,
    "task381_boolq_question_generation": True,
    "task1661_super_glue_classification": True,
    "task1286_openbookqa_question_answering": True,
    "task1399_obqa_answer_generation": True,
    "task062_bigbench_repeat_copy_logic": True,
    "task168_strategyqa_question_decomposition": True,
    "task1553_cnn_dailymail_summarization": True,
    "task1290_xsum_summarization": True,
    "task1572_samsum_summary": True,
    "task284_imdb_classification": True,
    "task1720_civil_comments_toxicity_classification": True,
    "task322_jigsaw_classification_threat": True,
    "task405_narrativeqa_question_generation": True,
    "task582_naturalquestion_answer_generation": True,
    "task870_msmarco_answer_generation": True,
    "task083_babi_t1_single_supporting_fact_answer_generation": True,
    "task274_overruling_legal_classification": True,
    "task002_quoref_answer_generation": False,
    "task1356_xlsum_title_generation": False,
    "task365_synthetic_remove_vowels": False,
    "task075_squad1.1_answer_generation": False,
    "task1731_quartz_question_answering": False,
}


@pytest.mark.parametrize("task", TASKS)
def test_tasks_with_helms_questions_are_left_out_by_name(task: str) -> None:
    source = load(RECIPES / "4090.yaml").recipe.data.sources["natural_instructions"]
    assert catalogue.left_out(source, "task_name", task) is TASKS[task]


@pytest.mark.parametrize("name", NAMED)
def test_the_layer_composes(name: str, tmp_path: Path) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text(f"defaults: [4090, data/catalogue/{name}]\n")
    found = load(recipe)
    assert "catalogue" not in found.origins
    failed = {one.rule for one in check(found) if one.verdict == "fail"}
    assert failed == ({"data licence"} if name in ("openbookqa", "samsum") else set())


def test_facts_are_for_the_catalogue_alone(tmp_path: Path) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text("defaults: [cpu]\ncatalogue: {id: mine}\n")
    with pytest.raises(UserError, match="catalogue: unknown key"):
        load(recipe)


def test_a_set_is_found_by_its_copies_and_in_any_case() -> None:
    def ident(path: str, kind: Any = "hub") -> str:
        found = catalogue.find(Source(kind, path, "MIT", "human"))
        return found.id if found else ""

    assert ident("openassistant/OASST1") == "OpenAssistant/oasst1"
    assert ident("samsum") == "knkarthick/samsum"
    assert ident("gsm8k") == "openai/gsm8k"
    assert ident("oasst1") == ident("somebody/oasst1") == ident("") == ""
    assert ident("samsum", "jsonl") == ""


def test_allow_and_deny_decide_what_is_kept() -> None:
    def source(*steps: Any) -> Source:
        return Source("hub", "x/y", "MIT", "human", operators=list(steps))

    deny, allow = {"deny": Deny("c", ["a*"])}, {"allow": Deny("c", ["ab", "b?"])}
    assert not catalogue.left_out(source(), "c", "ab")
    assert catalogue.left_out(source(deny), "c", "ab")
    assert not catalogue.left_out(source(deny), "d", "ab")
    assert not catalogue.left_out(source(allow), "c", "ab")
    assert catalogue.left_out(source(allow), "c", "abc")
    assert catalogue.left_out(source(allow, deny), "c", "ab")
    assert not catalogue.left_out(source(allow, deny), "c", "b1")
