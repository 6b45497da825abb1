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
from tools.plan import probe, probes
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
    assert config["gradient_accumulation_steps"] == 2
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


def measured(speeds: dict[int, float]) -> Callable[[Plan, Path], probe.Measured]:
    """Steps by tokens a pass; those that are not named fail as for lack of memory."""

    def steps(found: Plan, runs: Path) -> probe.Measured:
        if found.job.tokens not in speeds:
            raise StageError("axolotl train ended with code 1: CUDA out of memory\n  log: x")
        return probe.Measured(found.peak.total * 0.97, speeds[found.job.tokens])

    return steps


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A card by name; where layers are written."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 4090")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(probe, "TUNED", tmp_path / "tuned")
    return tmp_path / "tuned"


def shipped(runs: Path) -> Plan:
    return plan(load(RECIPES / "4090.yaml").recipe, runs)


def test_the_fastest_that_fits_becomes_a_layer(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setattr(probe, "three_steps", measured({16384: 1600.0, 4096: 2000.0}))
    text = probe.report(shipped(runs), runs)
    layer = card / "4090-4090.yaml"
    assert f"probe: wrote {layer}: 2,000 tokens/s, 1.25 x the recipe as it is" in text
    assert "failed: axolotl train ended with code 1: CUDA out of memory" in text
    assert "defaults: [4090, tuned/4090-4090]" in text
    said = layer.read_text()
    assert said.startswith("# yaml-language-server: $schema=../schema.json\n")
    assert "NVIDIA GeForce RTX 4090" in said and "torch 2." in said and "(failed)" in said
    assert "the recipe as it is" in said and "1,600" in said
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"defaults: [{RECIPES}/4090, {layer.with_suffix('')}]\n")
    composed = plan(load(mine).recipe, runs)
    assert composed.job.tokens == 4096 and not composed.job.checkpointing
    # Kept, and learnt from.
    kept = probes.known(runs)[3:]
    assert {one.tokens_per_s for one in kept} == {1600.0, 2000.0}
    assert composed.speed.high / composed.speed.low < 1.5


def test_a_layer_that_its_user_changed_is_left_alone(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "three_steps", measured({16384: 1600.0, 4096: 2000.0}))
    probe.report(shipped(tmp_path), tmp_path)
    layer = card / "4090-4090.yaml"
    probe.report(shipped(tmp_path), tmp_path)
    assert [path.name for path in card.iterdir()] == ["4090-4090.yaml"]  # ours is written over
    mine = layer.read_text().replace("lora_dropout: 0.0", "lora_dropout: 0.01")
    layer.write_text(mine)
    text = probe.report(shipped(tmp_path), tmp_path)
    assert "was changed since it was written, so it is left as it is" in text
    assert layer.read_text() == mine and (card / "4090-4090-new.yaml").is_file()


def test_nothing_is_written_when_the_recipe_is_the_fastest(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "three_steps", measured({16384: 2100.0, 4096: 2000.0}))
    text = probe.report(shipped(tmp_path), tmp_path)
    assert "the recipe as it is is the fastest of what fits" in text and not card.exists()
    monkeypatch.setattr(probe, "three_steps", measured({}))
    assert "nothing that was tried fits" in probe.report(shipped(tmp_path), tmp_path)


def test_an_unknown_card_is_not_learnt_from(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its peak is not known: a share of the recipe's card's would be false."""
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some Other Card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (12, 0))
    monkeypatch.setattr(probe, "three_steps", measured({16384: 2100.0}))
    text = probe.report(shipped(tmp_path), tmp_path)
    assert "not kept: the bf16 peak of Some Other Card is not known" in text
    assert not (tmp_path / "probes.json").exists()


def test_five_minutes_are_not_overrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 10000, 70))
    monkeypatch.setattr(probe.time, "monotonic", lambda: float(next(now)))
    made = probe.trials(shipped(tmp_path), tmp_path, measured({16384: 1.0, 4096: 1.0}))
    assert 1 <= len(made) < 4
    assert "no time left for" in capsys.readouterr().out


def test_real_steps_of_a_tiny_model(tiny_model: Path, tmp_path: Path) -> None:
    """Axolotl's own, on this CPU: it logs a speed, and of memory that there is no card."""
    model = f"model.id=own/tiny model.source=local model.path={tiny_model}"
    model += " model.family=own model.licence=MIT model.instruct=false"
    train = "train.sequence_len=64 train.gradient_accumulation_steps=4"
    ends = "model.eos='<|im_end|>' model.pad='<|endoftext|>' model.context=1024 model.revision=''"
    recipe = load(RECIPES / "cpu.yaml", [model, ends, train]).recipe
    found = probe.three_steps(plan(recipe, tmp_path), tmp_path)
    assert found.peak == 0 and found.tokens_per_second > 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_probe_had_prepared_is_not_taken(
    tmp_path: Path, calls: list[tuple[Run, dict[str, Any], list[Any]]]
) -> None:
    """Axolotl loads whatever lies there, by its path alone."""
    left = tmp_path / "4090-probe" / "prepared" / "abc" / "data-00000-of-00001.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    seen: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(axolotl, "call", lambda *_, **__: seen.append(left.exists()))
        with pytest.raises((StageError, UserError)):
            probe.probe(planned(tmp_path), tmp_path)
    assert seen == [False]
