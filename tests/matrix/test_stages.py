"""What a cell says of what the verbs left; the verbs themselves are called by tests/e2e."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import family_matrix
from tests.matrix import stages

Verbs = Callable[..., None]


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> Verbs:
    """``verbs(adapter=…, losses=…, code=…, printed=…, answers=…)``: what they leave, and say."""

    def stand_in(
        losses: tuple[float, float] = (5.9, 2.1),
        weights: dict[str, bytes] | None = None,
        code: int = 0,
        printed: str = "train: going on from step 8",
        answers: int = 2,
    ) -> None:
        def call(verb: str, recipe: Path, runs: Path, *_: str) -> Any:
            run = runs / recipe.stem
            adapter = run / "adapter"
            adapter.mkdir(parents=True, exist_ok=True)
            found = {"first_loss": losses[0], "eval_loss": losses[1], "planned_steps": 48}
            (adapter / "oneday.json").write_text(json.dumps({"metrics": found}))
            made = (weights or {}).get(runs.name, b"the same")
            (adapter / "adapter_model.safetensors").write_bytes(made)
            if verb == "eval":
                asked = run / "eval/tuned/benchmark_output/runs/oneday/synthetic"
                asked.mkdir(parents=True)
                states = [{"result": {"completions": [{"text": "B"}]}}] * answers
                (asked / "scenario_state.json").write_text(json.dumps({"request_states": states}))
                scores = {"synthetic": {"value": 0.5, "instances": 1}}
                (run / "eval/tuned/scores.json").write_text(json.dumps(scores))
            return subprocess.CompletedProcess([], code, printed)

        monkeypatch.setattr(stages, "call", call)
        monkeypatch.setattr(stages.kinds, "killed", lambda recipe, runs: None)
        monkeypatch.setattr(stages.kinds, "write", lambda folder, family: folder / f"{family}.yaml")

    return stand_in


def test_a_loss_that_falls(verbs: Verbs, tmp_path: Path) -> None:
    verbs()
    assert stages.cell("t5", "train", tmp_path / "one") == ("5.90>2.10", "")
    verbs(losses=(5.9, 5.9))
    assert stages.cell("t5", "train", tmp_path / "two")[1] == "the loss did not fall"


def test_the_same_bytes(verbs: Verbs, tmp_path: Path) -> None:
    verbs()
    assert stages.cell("t5", "killed", tmp_path / "one") == ("same, 8/48", "")
    assert stages.cell("t5", "again", tmp_path / "one") == ("same, 1 files", "")
    verbs(weights={"alone": b"others"})
    for column in ("killed", "again"):
        said, fault = stages.cell("t5", column, tmp_path / "two")
        assert said == "DIFFERS"
        assert fault == "not the same bytes: adapter_model.safetensors"


def test_a_killed_run_that_began_anew(verbs: Verbs, tmp_path: Path) -> None:
    verbs(printed="train: 48 steps")
    said, fault = stages.cell("t5", "killed", tmp_path)
    assert said == "ANEW" and "did not go on from its checkpoint" in fault


def test_a_score(verbs: Verbs, tmp_path: Path) -> None:
    verbs()
    assert stages.cell("bert", "helm", tmp_path / "one") == ("0.50 (2)", "")
    verbs(answers=1)
    fault = stages.cell("bert", "helm", tmp_path / "two")[1]
    assert fault == "HELM has 1 answers, of 2 questions"


def test_a_verb_that_fails_is_told_with_its_last_lines(verbs: Verbs, tmp_path: Path) -> None:
    verbs(code=2, printed="\n".join(f"line {i}" for i in range(40)) + "\nerror: no such key")
    with pytest.raises(AssertionError, match="tools train ended with 2:\n") as caught:
        stages.cell("t5", "train", tmp_path)
    told = str(caught.value)
    assert told.endswith("  | error: no such key") and "line 20" not in told


REPORT = """<testsuites><testsuite>
<testcase name="passes[t5]"/><testcase name="breaks[t5]"><properties/><failure/></testcase>
<testcase name="left[t5]"><skipped/></testcase><testcase name="prints[t5]"><system-out/></testcase>
</testsuite></testsuites>"""


def test_checks_that_did_not_pass_are_named(tmp_path: Path) -> None:
    """One that was left out is none that passed, and no check at all is no pass."""
    report = tmp_path / "contract.xml"
    report.write_text(REPORT)
    said, fault = stages.judged(report)
    assert said == "2 of 4"
    assert fault == "of 4 checks 2 did not pass: breaks[t5] failure, left[t5] skipped"
    report.write_text("<testsuites><testsuite/></testsuites>")
    assert stages.judged(report) == ("0 of 0", "not one check was made")


def test_every_column_says_what_it_is() -> None:
    assert stages.MEANING.keys() == stages.CELLS.keys()
    assert set(family_matrix.COLUMNS) == family_matrix.MEANING.keys()
