"""Named sets: what a recipe says of them is compared, part by part where they have parts."""

from pathlib import Path

import pytest

from tools.check.findings import Finding, check
from tools.check.rules.named import LOADERS
from tools.recipe.compose import RECIPES
from tools.recipe.load import load

PLATYPUS = "garage-bAInd/Open-Platypus"
PIN = "37141edbdb7826378cce118c46a109b813e1f038"
LEFT_OUT = "[airoboros, leetcode_ne, MATH/PRM-800K, reclor, tigerbot-kaggle]"


def told(source: str, *rules: str) -> list[Finding]:
    found = check(load(RECIPES / "4090.yaml", [f"data.sources.x={{kind: hub, {source}}}"]))
    return [one for one in found if one.rule in rules and one.verdict != "pass"]


def platypus(licence: str, values: str) -> list[Finding]:
    operators = f"operators: [{{deny: {{column: data_source, values: {values}}}}}]"
    facts = f"path: {PLATYPUS}, revision: {PIN}, licence: {licence}, origin: human, {operators}"
    return told(facts, "data licence", "data origin", "named sets", "loadable")


def test_parts_that_are_not_allowed_are_named_with_the_line_that_drops_them() -> None:
    (licence, origin) = platypus("MIT", "[airoboros]")
    assert "reclor (non-commercial), leetcode_ne (unknown)" in licence.message
    assert "airoboros" not in licence.message + origin.message
    assert origin.remedy == (
        "add to its operators: - deny: {column: data_source, values: "
        "[MATH/PRM-800K, tigerbot-kaggle, leetcode_ne]}"
    )


def test_what_is_left_is_as_open_as_the_recipe_says() -> None:
    assert platypus("CC-BY-NC-SA-4.0", LEFT_OUT) == []
    (fault,) = platypus("CC-BY-SA-4.0", LEFT_OUT)
    assert fault.rule == "data licence" and "none of the rows left in is: ARB CC-BY-4.0" in (
        fault.message
    )


def test_a_licence_is_compared_without_its_spelling() -> None:
    facts = "path: openai/gsm8k, revision: 740312add88f781978c0658806c59bc2815b9866"
    assert told(f"{facts}, licence: mit, origin: Human", "data licence", "data origin") == []


@pytest.mark.parametrize("name", LOADERS)
def test_loaders_are_no_sets(name: str) -> None:
    (fault,) = told(f"path: {name}, revision: x, licence: MIT, origin: human", "loadable")
    assert fault.verdict == "fail" and "OWNER/NAME" in fault.remedy


def test_the_loaders_are_those_of_the_library() -> None:
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    assert set(LOADERS) == set(_PACKAGED_DATASETS_MODULES)


def test_what_the_hub_converted_can_be_loaded_and_moves() -> None:
    facts = "path: allenai/quac, licence: CC-BY-SA-4.0, origin: human, revision: "
    (script,) = told(f"{facts}main", "loadable")
    assert "refs/convert/parquet" in script.remedy
    assert told(f"{facts}refs/convert/parquet", "loadable") == []
    (moves,) = told(f"{facts}refs/convert/parquet", "named sets")
    assert "moves" in moves.message and moves.verdict == "warn"


def test_a_gate_is_told_before_a_download() -> None:
    facts = "revision: refs/convert/parquet, licence: CC-BY-NC-SA-4.0, origin: human"
    found = told(f"path: GAIR/lima, {facts}", "named sets")
    assert any("HF_TOKEN" in one.remedy for one in found)
    assert not any(
        "HF_TOKEN" in one.remedy for one in told(f"path: kira/lima, {facts}", "named sets")
    )


def test_helms_own_lines_cannot_be_left_out_of_bbq_by_name() -> None:
    facts = "path: Elfsong/BBQ, revision: x, licence: CC-BY-4.0, origin: human"
    found = told(facts, "named sets")
    assert any("HELM's own instances" in one.remedy for one in found)
    assert sum("not verified" in one.message for one in found) == 2


@pytest.mark.parametrize("name", ["4090", "a100"])
def test_the_card_recipes_have_nothing_to_be_told(name: str) -> None:
    assert {one.verdict for one in check(load(RECIPES / f"{name}.yaml"))} == {"pass"}


def test_presets_that_stand_on_the_same_data_have_neither() -> None:
    rules = {"data licence", "data origin", "reproducible", "named sets", "loadable"}
    for file in sorted(Path(RECIPES, "presets").glob("*.yaml")):
        for one in check(load(file)):
            assert one.verdict == "pass" or one.rule not in rules, (file.name, one)
