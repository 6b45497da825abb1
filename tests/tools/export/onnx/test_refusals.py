"""What no ONNX file is made of: each refusal says what, where and the remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tools.errors import UserError
from tools.export.onnx import programs, refusals
from tools.run.folder import Run


@pytest.fixture
def run(merged: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(programs.Environment, "needed", lambda self: tmp_path)
    return merged("t5")


def faults(run: Run) -> list[str]:
    with pytest.raises(UserError) as caught:
        refusals.refuse(run, " HW=cpu")
    return caught.value.faults


def change(run: Run, name: str = "config.json", **values: Any) -> None:
    file = run.output("merge") / name
    before = file.stat().st_size
    found = json.loads(file.read_text()) | values
    text = json.dumps({key: value for key, value in found.items() if value is not None})
    file.write_text(text)
    record = run.output("merge") / "oneday.json"  # files are known by their size
    record.write_text(record.read_text().replace(f'"size": {before}', f'"size": {len(text)}'))


def test_a_good_model_is_not_refused(run: Run) -> None:
    refusals.refuse(run, "")


def test_no_merged_model(run: Run) -> None:
    shutil.rmtree(run.output("merge"))
    (fault,) = faults(run)
    assert fault.endswith("merged: missing; it is what is exported: make merge HW=cpu")


def test_a_causal_model(tmp_path: Path) -> None:
    """llama.cpp's format is named, in one message."""
    run = make_run(tmp_path)
    with run.produce("merge") as work:
        (work.folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (fault,) = faults(run)
    assert "it is a causal language model: FORMAT=onnx is for models with an encoder" in fault
    assert fault.endswith("call make export HW=cpu FORMAT=gguf")


def test_a_decoder_that_does_not_say_where_its_answers_start(run: Run) -> None:
    change(run, decoder_start_token_id=None)
    (run.output("merge") / "generation_config.json").write_text("{}")
    record = json.loads((run.output("merge") / "oneday.json").read_text())
    record["outputs"].pop("generation_config.json")
    (run.output("merge") / "oneday.json").write_text(json.dumps(record))
    (fault,) = faults(run)
    assert "config.json: no decoder_start_token_id, from which every answer starts" in fault


def test_weights_that_are_quantized(run: Run) -> None:
    change(run, quantization_config={"quant_method": "bitsandbytes"})
    assert "quantized already; merge onto a plain base" in faults(run)[0]


def test_a_disk_that_is_too_small(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of 16 bits take twice the room."""

    class Usage:
        free = 0

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    assert "make room" in faults(run)[0]
    weights = (run.output("merge") / "model.safetensors").stat().st_size
    config = json.loads((run.output("merge") / "config.json").read_text())
    Usage.free = weights + 8 * config["vocab_size"] * config["d_model"]
    refusals.refuse(run, "")
    change(run, dtype="bfloat16")
    assert "this takes 0.00 (float32); make room" in faults(run)[0]


def test_what_is_not_installed_is_told_with_the_rest(
    merged: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDAY_ONNX_VENV", str(tmp_path / "none"))
    run = merged("bert")
    change(run, quantization_config={"quant_method": "bitsandbytes"})
    quantized, missing = faults(run)
    assert "quantized already" in quantized
    assert missing.endswith("none; install it with: make onnx")
