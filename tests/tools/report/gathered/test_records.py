"""Rules, contamination, manifest."""

import json
from pathlib import Path

from tests.tiny import make_run
from tests.tools.report.conftest import ARCH, make_rows
from tools.files import read_json, write_json
from tools.report.gathered.records import contamination, hidden, manifest, rules
from tools.report.gathered.source import Source
from tools.run.folder import Run


def test_hits_by_rule_and_model(whole: Run) -> None:
    path = whole.output("eval_base") / "metrics.json"
    write_json(path, {"rules": {"letter": {"cut": 2, "extract": 3}}})
    found = rules(Source(whole))
    assert found["models"] == ["base", "tuned"]
    assert {"rule": "letter", "base": 5, "tuned": 6} in found["rules"]


def test_a_rule_that_never_hit_is_shown(whole: Run, tmp_path: Path) -> None:
    from serve.config import Rule

    run = make_run(whole.path.parent, model__arch=ARCH, serve__rules={"math": Rule()})
    assert {"rule": "math", "base": 0, "tuned": 0} in rules(Source(run))["rules"]


def test_scenarios_that_were_not_checked_are_named(whole: Run) -> None:
    assert contamination(Source(whole))["unchecked"] == []
    path = whole.path / "eval" / "contamination.json"
    stored = read_json(path)
    del stored["scenarios"]["mmlu"]
    write_json(path, stored)
    found = contamination(Source(whole))
    assert found["unchecked"] == ["mmlu"]
    assert [each["scenario"] for each in found["scenarios"]] == ["oneday"]


def test_stages_with_hashes_and_whether_they_are_as_the_recipe_asks(whole: Run) -> None:
    found = manifest(Source(whole))
    names = [each["stage"] for each in found["stages"]]
    assert names == ["data", "train", "merge", "quantize", "eval_base", "eval_tuned"]
    assert all(each["fresh"] and len(each["fingerprint"]) == 64 for each in found["stages"])
    assert len(found["stages"][1]["files"]["adapter_model.safetensors"]) == 64
    assert found["recipe"]["name"] == "tiny" and found["packages"] > 10
    edited = make_run(whole.path.parent, model__arch=ARCH, merge__max_logit_error=0.5)
    stages = {each["stage"]: each["fresh"] for each in manifest(Source(edited))["stages"]}
    assert stages["train"] and not stages["merge"] and not stages["quantize"]


def test_no_secret_is_passed_on(tmp_path: Path) -> None:
    token = "hf_" + "a1" * 17
    run = make_run(tmp_path, train={"hub_model_id": token, "wandb": [{"api_key": "x y"}]})
    make_rows(run)
    found = manifest(Source(run))["recipe"]
    assert found["train"] == {
        "hub_model_id": "<Hugging Face token>",
        "wandb": [{"api_key": "<secret, by the key's name>"}],
    }
    assert token not in json.dumps(found)
    assert hidden({"a": [1, None, "plain"]}) == {"a": [1, None, "plain"]}
