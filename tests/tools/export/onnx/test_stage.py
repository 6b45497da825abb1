"""The export as ONNX: what is made, what is kept, what a wrong file leaves behind.

The last tests are the real exporter's and ONNX Runtime's, where `make onnx` has installed them.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import kin
from tools.errors import StageError, UserError
from tools.export.onnx import merged as merged_
from tools.export.onnx import programs, stage
from tools.run.folder import Run

ALL = bool(os.environ.get("ONEDAY_TEST_ALL"))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The exporter and ONNX Runtime replaced: by ones that are right, if nothing is changed."""
    changed: dict[str, Any] = {"calls": []}

    def write(model: Path, folder: Path, auto_class: str, log: Path) -> None:
        changed["calls"].append(auto_class)
        (folder / "model.onnx").write_bytes(b"weights")

    def ask(request: dict[str, Any], log: Path) -> dict[str, Any]:
        own = merged_.ask(changed["model"], merged_.Lines(request["lines"], request["places"]))
        (own.logits + changed.get("moved", 0)).astype("float32").tofile(request["logits"])
        return {"greedy": own.greedy, "engine": "onnxruntime 1"}

    monkeypatch.setattr(programs.Environment, "needed", lambda self: Path())
    monkeypatch.setattr(programs, "write", write)
    monkeypatch.setattr(programs, "ask", ask)
    return changed


def test_what_is_made(merged: Callable[..., Run], answers: dict[str, Any]) -> None:
    run = merged("bert")
    answers["model"] = run.output("merge")
    found = stage.export(run)
    made = {path.name for path in run.output("onnx").iterdir()}
    wanted = {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "oneday.json"}
    assert made == wanted and answers["calls"] == ["AutoModelForMaskedLM"]
    assert json.loads((run.output("onnx") / "config.json").read_text())["dtype"] == "float32"
    assert found["greedy"]["equal"] == found["greedy"]["prompts"] and found["logits_apart"] == 0
    assert found["mb"] == 7e-6 and found["merged_mb"] > 0.1
    assert stage.export(run) == found and len(answers["calls"]) == 1, "it is made once"
    assert not list(run.path.glob(".export-*"))


def test_wrong_files_do_not_count(merged: Callable[..., Run], answers: dict[str, Any]) -> None:
    run = merged("bert")
    answers |= {"model": run.output("merge"), "moved": 1.0}
    with pytest.raises(StageError, match="the ONNX files are not the merged model: logits of"):
        stage.export(run)
    assert not run.output("onnx").exists() and not list(run.path.glob(".export-*"))


def test_a_fault_is_told_before_anything_is_loaded(
    merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONEDAY_ONNX_VENV", str(tmp_path / "none"))
    monkeypatch.setattr(merged_, "ask", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UserError, match="make onnx"):
        stage.export(merged("t5"))


@pytest.fixture
def real() -> None:
    """The environment, or a reason."""
    if "ONEDAY_TEST_ONNX" in os.environ:
        return
    try:
        programs.ONNX_RUNTIME.needed()
    except UserError:
        pytest.skip("no .venv-onnx: make onnx makes it, ONEDAY_TEST_ONNX=1 asks for it")


FAMILIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not ALL and name not in ("t5", "deberta-v2"), reason="slow: make test-all runs it"
        ),
    )
    for name in kin.FAMILIES
]


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_answers_as_the_merged_model_does(
    family: str, real: None, merged: Callable[..., Run]
) -> None:
    run = merged(family, data__validation_rows=12)
    found = stage.export(run)
    seen = found["greedy"]
    assert seen["equal"] + seen["ties"] == seen["prompts"] > 5 and seen["equal"] > 0
    assert found["logits_apart"] < 1e-4
    names = {path.name for path in run.output("onnx").glob("*.onnx*")}
    two = {"encoder_model.onnx", "decoder_model.onnx"}
    assert names == (two if family in kin.SEQ2SEQ else {"model.onnx"})
    assert b"site-packages" not in b"".join(
        path.read_bytes() for path in run.output("onnx").glob("*.onnx")
    ), "no path of this machine"


def test_onnx_runtime_sees_another_model(
    real: None, merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, write = merged("bert"), programs.write
    other = kin.folder("bert", tmp_path / "other", seed=1)
    monkeypatch.setattr(programs, "write", lambda model, *rest: write(other, *rest))
    with pytest.raises(StageError, match="the ONNX files are not the merged model"):
        stage.export(run)
    assert not run.output("onnx").exists()
