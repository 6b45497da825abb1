"""The probe: refused without a GPU; what it gives Axolotl, and what it makes of its events."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import axolotl, base_model
from tools.errors import StageError, UserError
from tools.plan import probe
from tools.plan.memory import CONTEXT, adapter_parameters
from tools.plan.verdict import GIB, Plan, plan
from tools.recipe.compose import RECIPES
from tools.recipe.load import load
from tools.run.folder import Run


def planned(runs: Path) -> Plan:
    words = ["train.sequence_len=64 train.gradient_accumulation_steps=2"]
    return plan(load(RECIPES / "4090.yaml", words).recipe, runs)


def test_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="PROBE=1 measures on a GPU: 4090 has none here"):
        probe.probe(planned(tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run, dict[str, Any], list[Any]]]:
    """What Axolotl was called with; it tells of three steps."""
    import torch

    found: list[tuple[Run, dict[str, Any], list[Any]]] = []

    def call(
        run: Run, command: str, config: Path, overrides: Any, watch: Callable[[Any], None]
    ) -> None:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))  # as Axolotl reads it
        rows = Path(content["datasets"][0]["path"]).read_text().splitlines()
        found.append((run, content, [json.loads(row) for row in rows]))
        for step, speed in enumerate((20.0, 2000.0, 1900.0)):
            watch({"event": "step", "step": step})
            memory = {"memory/max_allocated (GiB)": 10.0 + step}
            watch({"event": "log", "tokens/train_per_sec_per_gpu": speed, **memory})

    monkeypatch.setattr(axolotl, "call", call)
    monkeypatch.setattr(base_model, "local_folder", lambda _: Path("somewhere"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return found


def test_three_steps_of_full_rows(
    calls: list[tuple[Run, dict[str, Any], list[Any]]], tmp_path: Path
) -> None:
    measured = probe.probe(planned(tmp_path), tmp_path)
    assert measured == probe.Measured(peak=12 * GIB, tokens_per_second=2000.0)
    ((run, config, rows),) = calls
    assert len(rows) == 3 * 2 * 2 and {len(row["input_ids"]) for row in rows} == {64}
    assert max(max(row["input_ids"]) for row in rows) < 32000
    assert config["max_steps"] == 3 and config["save_strategy"] == "no"
    assert config["sequence_len"] == 64 and config["adapter"] == "qlora"
    assert not {"test_datasets", "eval_steps", "save_steps"} & config.keys()
    assert run.path.name == "4090-probe" and list(tmp_path.iterdir()) == []


def test_predicted_beside_measured(tmp_path: Path) -> None:
    found = planned(tmp_path)
    text = probe.render(found, probe.Measured(18 * GIB, 1500.0))
    paged = adapter_parameters(found.job) * 8  # torch does not see what a paged optimizer takes
    predicted = (found.peak.total - CONTEXT - paged) / GIB
    assert f"predicted {predicted:.1f}, measured 18.0" in text and "memory fits" in text
    assert "measured 1,500" in text
    assert "does not fit" in probe.render(found, probe.Measured(23 * GIB, 1500.0))


def test_no_step_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(axolotl, "call", lambda *_: None)
    monkeypatch.setattr(base_model, "local_folder", lambda _: Path("somewhere"))
    with pytest.raises(StageError, match="no step was made"):
        probe.three_steps(planned(tmp_path), tmp_path)


def test_what_looks_like_a_reference_is_given_on_as_it_is(
    calls: list[tuple[Run, dict[str, Any], list[Any]]], tmp_path: Path
) -> None:
    found = planned(tmp_path)
    recipe = dataclasses.replace(found.recipe, train={**found.recipe.train, "wandb_name": "a ${ b"})
    probe.probe(dataclasses.replace(found, recipe=recipe), tmp_path)
    assert calls[0][1]["wandb_name"] == "a ${ b"
