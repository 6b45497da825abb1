"""From the merged model to a folder: what llm-compressor is asked, what is written down, refusals.

The last tests are the real package's, where `make compress` has installed it.
"""

import json
import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import make_run
from tools.data.prepare import prepare
from tools.environments import Environment
from tools.errors import StageError, UserError
from tools.run import compressed
from tools.run.folder import Run
from tools.stages import quantize
from tools.stages.quantizing import compressor, programs

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def merged(tiny_model: Path, tmp_path: Path) -> Callable[..., Run]:
    """Makes a run whose merged model is the tiny one, in a path with a space."""

    def make(**values: Any) -> Run:
        keys = {f"quantize__{name}": value for name, value in values.items()}
        run = make_run(tmp_path / "my runs", model__path=str(tiny_model), **keys)
        prepare(run)
        with run.produce("merge") as work:
            shutil.copytree(tiny_model, work.folder, dirs_exist_ok=True)
        return run

    return make


@pytest.fixture
def asked(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What llm-compressor is asked; it answers by a copy of the model."""
    requests: list[dict[str, Any]] = []

    def compress(request: dict[str, Any], log: Path) -> dict[str, Any]:
        requests.append(request)
        shutil.copytree(tiny_model, request["folder"], dirs_exist_ok=True)
        return {"layers": 14, "whole": ["lm_head"], "told": ["a warning"]}

    monkeypatch.setattr(Environment, "needed", lambda self: tiny_model)
    monkeypatch.setattr(programs, "compress", compress)
    return requests


def test_what_is_asked_and_written_down(
    merged: Callable[..., Run], asked: list[dict[str, Any]]
) -> None:
    run = merged(format="w4a16", group_size=32, num_calibration_samples=3, ignore=["re:.*down.*"])
    found = quantize.quantize(run)
    [request] = asked
    assert request["model"] == str(run.output("merge")) and len(request["rows"]) == 3
    assert {key: request[key] for key in ("scheme", "modifier", "group_size", "ignore")} == {
        "scheme": "W4A16",
        "modifier": "gptq",
        "group_size": 32,
        "ignore": ["re:.*down.*"],
    }
    assert found["perplexity_ratio"] == 1
    record = json.loads((run.output("quantize") / "oneday.json").read_text())
    made = record["metrics"]["compressor"]
    assert (made["layers"], made["whole"], made["told"]) == (14, ["lm_head"], ["a warning"])
    assert len(record["metrics"]["calibration"]["rows"]) == 3
    assert record["inputs"]["versions"]["llmcompressor"] == compressed.VERSION
    assert record["outputs"]


def test_rounding_to_nearest_reads_no_rows(
    merged: Callable[..., Run], asked: list[dict[str, Any]]
) -> None:
    found = quantize.quantize(merged(format="fp8"))
    assert asked[0]["rows"] == [] and asked[0]["scheme"] == "FP8_DYNAMIC"
    assert "calibration" not in found


def test_layers_of_a_kind_of_their_own(
    merged: Callable[..., Run], asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = {"layers": 0, "whole": [], "told": []}
    monkeypatch.setattr(programs, "compress", lambda request, log: none)
    run = merged(format="fp8")
    with pytest.raises(StageError, match=r"makes none of .* smaller.*set quantize\.format=none"):
        quantize.quantize(run)
    assert not run.output("quantize").exists()


def test_a_disk_too_small(
    merged: Callable[..., Run], asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = merged(format="fp8")
    monkeypatch.setattr(compressor.shutil, "disk_usage", lambda path: Usage(1, 1, 1000))
    with pytest.raises(UserError, match=r"the disk has 0\.00 GB, and quantizing may take"):
        quantize.quantize(run)
    assert asked == [] and not run.output("quantize").exists()


REAL = "llm-compressor is not installed; make compress"
real = pytest.mark.skipif(compressed.ENVIRONMENT.packages() is None, reason=REAL)


@real
def test_gptq_makes_the_same_bytes_twice(merged: Callable[..., Run], tmp_path: Path) -> None:
    values = {"format": "w4a16", "group_size": 32, "num_calibration_samples": 8}
    run = merged(**values, max_seq_length=64)
    found = quantize.quantize(run)
    assert 0.8 < found["perplexity_ratio"] < 1.1 and found["perplexity_ratio"] != 1
    assert found["quantized_mb"] < 0.6 * found["merged_mb"]
    stored = load_file(run.output("quantize") / "model.safetensors")
    assert stored["model.layers.0.mlp.up_proj.weight_packed"].dtype == torch.int32
    assert stored["lm_head.weight"].dtype == torch.float32
    names = {path.name for path in run.output("quantize").iterdir()}
    assert {"tokenizer.json", "config.json", "recipe.yaml", "oneday.json"} <= names
    again = tmp_path / "again"
    again.mkdir()
    compressor.make(run, run.output("merge"), again)
    for path in again.iterdir():
        assert path.read_bytes() == (run.output("quantize") / path.name).read_bytes(), path.name


@real
@pytest.mark.skipif(not os.environ.get("ONEDAY_TEST_ALL"), reason="slow: make test-all runs it")
@pytest.mark.parametrize(
    ("values", "margin"),
    [
        ({"format": "w8a8", "smoothing_strength": 0.8}, 0.02),
        ({"format": "fp8"}, 0.05),
        ({"format": "w4a16", "group_size": -1, "modifier": "awq"}, 0.2),
    ],
)
def test_others_that_run_here(
    values: dict[str, Any], margin: float, merged: Callable[..., Run]
) -> None:
    found = quantize.quantize(merged(**values, num_calibration_samples=4, max_seq_length=64))
    assert found["perplexity_ratio"] == pytest.approx(1, abs=margin)
    assert found["perplexity_ratio"] != 1 and found["compressor"]["whole"] == ["lm_head"]


@real
def test_a_disk_that_fills_up_leaves_nothing(
    merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on files stands in for it: the same error, as the weights are written."""

    def limit(how: object) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    monkeypatch.setattr(programs, "dies_with_parent", limit)
    run = merged(format="w8a16", group_size=32)
    with pytest.raises(StageError, match=r"llm-compressor failed: .*[Ff]ile too large.* \(log: "):
        quantize.quantize(run)
    assert not run.output("quantize").exists() and not list(run.path.glob(".quantized*"))
