"""The merge verb: its own check of the merged model, on merges that are right and wrong."""

import contextlib
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from tests.tiny import make_run, save_adapter
from tools.data.prepare import prepare
from tools.errors import StageError, UserError
from tools.recipe.schema import WeightedAdapter
from tools.run.folder import Run
from tools.stages import merge, quantize
from tools.stages.merging import weights

Usage = namedtuple("Usage", "total used free")
DOUBLE = "bnb_4bit_use_double_quant"
# As Axolotl loads a base for qlora.
NF4 = BitsAndBytesConfig(
    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
)


def write_merged(base: Any, adapter: Path, tokenizer: Path, folder: Path, scale: float = 1) -> None:
    """What Axolotl's merge writes; ``scale`` makes it wrong."""
    net = PeftModel.from_pretrained(base, adapter)
    for module in net.modules():
        if isinstance(module, LoraLayer):
            module.scaling["default"] *= scale
    net.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def load(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **options)


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Run:
    made = make_run(tmp_path / "runs", model__path=str(tiny_model))
    prepare(made)
    return made


def test_a_right_merge(run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "m")
    found = merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")
    assert found["max_logit_diff"] < 1e-4 < 0.1 < found["max_logit_change"]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_wrong_merge(
    scale: float, run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "m", scale)
    with pytest.raises(StageError, match=r"more than merge\.max_logit_error = 0\.001"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")


@pytest.mark.parametrize(("options", "double"), [({}, True), ({DOUBLE: False}, False)])
def test_the_base_is_loaded_as_it_was_trained(
    options: dict[str, Any], double: bool, tmp_path: Path
) -> None:
    train = {"adapter": "qlora", "load_in_4bit": True, "bnb_config_kwargs": options}
    run = make_run(tmp_path, merge__method="nf4_aware", train=train)
    assert (
        merge.how_trained(run, tmp_path, tmp_path)["quantization_config"].bnb_4bit_use_double_quant
        is double
    )


def test_a_base_that_calls_itself_merged(run: Run, tiny_model: Path, tiny_adapter: Path) -> None:
    with pytest.raises(StageError, match="nothing was merged"):
        merge._verify(run, tiny_model, tiny_adapter, tiny_model)


def test_a_merged_model_of_nan(
    run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    base = load(tiny_model)
    base.lm_head.weight.data[0] = math.nan
    write_merged(base, tiny_adapter, tiny_model, tmp_path / "m")
    with pytest.raises(StageError, match=r"base \+ adapter by nan"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "m")


def test_a_qlora_adapter_belongs_on_the_quantized_base(
    run: Run, tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    run.recipe.merge.method, run.recipe.train["adapter"] = "nf4_aware", "qlora"
    rounded = load(tiny_model, quantization_config=NF4).dequantize()
    write_merged(rounded, tiny_adapter, tiny_model, tmp_path / "aware")
    write_merged(load(tiny_model), tiny_adapter, tiny_model, tmp_path / "plain")
    assert merge._verify(run, tiny_model, tiny_adapter, tmp_path / "aware")["max_logit_diff"] < 1e-4
    with pytest.raises(StageError, match=r"try merge\.method=plain"):
        merge._verify(run, tiny_model, tiny_adapter, tmp_path / "plain")
    run.recipe.merge.method = "plain"
    merge._verify(run, tiny_model, tiny_adapter, tmp_path / "plain")


def test_the_verb(run: Run, tiny_adapter: Path) -> None:
    with run.produce("train") as work:
        for path in tiny_adapter.iterdir():
            (work.folder / path.name).write_bytes(path.read_bytes())

    found = merge.merge(run)
    assert run.done("merge")
    names = {path.name for path in run.output("merge").iterdir()}
    assert {"config.json", "model.safetensors", "generation_config.json"} <= names
    record = run.record("merge")
    assert record is not None and record["metrics"] == found


def test_sampling_words_without_do_sample(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    """As Llama 2's first release has them: transformers would not save such a model again."""
    base = tmp_path / "a base"
    shutil.copytree(tiny_model, base)
    (base / "generation_config.json").write_text('{"temperature": 0.9, "top_p": 0.6}')
    run = make_run(tmp_path / "runs", model__path=str(base))
    prepare(run)
    with run.produce("train") as work:
        shutil.copytree(tiny_adapter, work.folder, dirs_exist_ok=True)
    merge.merge(run)
    merged = json.loads((run.output("merge") / "generation_config.json").read_text())
    assert merged == {"temperature": 0.9, "top_p": 0.6, "do_sample": True}


def trained_whole(run: Run, base: Path, scale: float = 0.02) -> Path:
    """A run whose training moved all weights, in fp32."""
    torch.manual_seed(1)
    net = load(base, dtype=torch.float32)
    for weight in net.parameters():
        weight.data += scale * torch.randn_like(weight)
    with run.produce("train") as work:
        net.save_pretrained(work.folder)
    return run.output("train")


def test_of_a_model_that_was_trained_whole_there_is_nothing_to_add(
    run: Run, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = trained_whole(run, tiny_model)
    found = merge.merge(run)
    said = capsys.readouterr().out
    assert "merge: all weights were trained, there is nothing to add to the base" in said
    assert "differs from trained model by at most 0" in said
    assert found["max_logit_diff"] == 0 < 0.1 < found["max_logit_change"]
    ours, theirs = (load_file(f / "model.safetensors") for f in (run.output("merge"), trained))
    assert all(torch.equal(one, theirs[name]) for name, one in ours.items())
    names = {path.name for path in run.output("merge").iterdir()}
    assert {"tokenizer.json", "config.json"} <= names and "adapter_config.json" not in names


def test_what_rounding_loses_of_a_whole_training_is_told(tiny_model: Path, tmp_path: Path) -> None:
    """A base in half precision, trained in full: steps below what it can hold are gone."""
    base = tmp_path / "half"
    net = load(tiny_model, dtype=torch.bfloat16)
    net.save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(base)
    run = make_run(tmp_path / "runs", model__path=str(base), merge__max_logit_error=0.05)
    prepare(run)
    trained_whole(run, base, scale=1e-4)
    with pytest.raises(StageError, match=r"from the trained model by .* train in the type of the"):
        merge.merge(run)
    assert not run.output("merge").exists()
    shutil.rmtree(run.output("train"))
    trained_whole(run, base, scale=0.02)
    found = merge.merge(run)
    assert 0 < found["max_logit_diff"] < 0.05 * found["max_logit_change"]
    assert load(run.output("merge"), dtype="auto").dtype == torch.bfloat16


def several(run: Run, other: Path) -> Run:
    both = {"own": WeightedAdapter(0.6), "other": WeightedAdapter(0.4, str(other))}
    made = dataclasses.replace(run.recipe.merge, adapters=both)
    return Run(dataclasses.replace(run.recipe, merge=made), run.path.parent)


@pytest.fixture
def trained(run: Run, tiny_adapter: Path) -> Run:
    """A run with an adapter."""
    with run.produce("train") as work:
        shutil.copytree(tiny_adapter, work.folder, dirs_exist_ok=True)
    return run


def test_several_adapters(
    trained: Run, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_adapter(tiny_model, tmp_path / "other", seed=1)
    both = several(trained, other)
    found = merge.merge(both)
    assert "merge: 0.6 x own, 0.4 x other, by cat" in capsys.readouterr().out
    assert found["max_logit_diff"] < 1e-4 < found["max_logit_change"]
    assert found["adapters"]["other"] == {"path": str(other), "weight": 0.4}
    assert not (both.output("merge") / ".together").exists()
    assert both.done("merge") and not trained.done("merge")
    record = both.record("merge")
    assert record and record["inputs"]["files"].keys() == {"other"}
    # Another content of the other one: not this merge any more.
    save_adapter(tiny_model, other, seed=2)
    assert not several(trained, other).done("merge")


def test_an_adapter_that_is_gone(trained: Run, tmp_path: Path) -> None:
    run = several(trained, tmp_path / "gone")
    with pytest.raises(UserError, match=r"gone/adapter_model\.safetensors is missing"):
        merge.merge(run)
    assert not run.output("merge").exists()


def test_a_disk_without_room_is_told_before(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1e9, 0, 1000))
    with pytest.raises(UserError, match=r"has 0\.00 GB free, the merged model takes .*adapter is"):
        merge.merge(trained)
    assert trained.done("train") and not trained.output("merge").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 KB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no small disk: there is no mount command")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # models are mapped from it


@pytest.mark.parametrize("stage", ["merge", "quantize"])
def test_a_disk_that_fills_up(
    stage: str,
    trained: Run,
    tiny_model: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's own error, from our writer and from safetensors; with room the stage is made."""
    monkeypatch.setattr(merge, "demand_room", lambda run, base: None)  # it fills up meanwhile
    root, name = trained.path.parent, trained.recipe.name
    for one in ("data", "adapter"):
        shutil.copytree(root / name / one, small_disk / name / one)
    run = Run(trained.recipe, small_disk)
    made = {"merge": merge.merge, "quantize": quantize.quantize}
    if stage == "quantize":
        with run.produce("merge") as work:
            for path in tiny_model.iterdir():
                (work.folder / path.name).symlink_to(path)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - 60_000))
    with pytest.raises(StageError, match=f"{stage}: the disk of .* is full .*make room, and the"):
        made[stage](run)
    assert not run.output(stage).exists() and not list(run.path.glob(".*partial"))
    assert run.done("train")
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    made[stage](run)
    assert run.done(stage)


def test_killed_in_the_middle_of_a_file(trained: Run) -> None:
    """By SIGKILL, in a process of its own: nothing counts, the next merge is whole."""
    child = os.fork()
    if not child:

        def killed(tensor: weights.Tensor, target: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        weights._copy = killed  # half a file is written when the first one comes that is copied
        merge.merge(trained)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (half,) = trained.path.glob(".merged*.partial")
    assert (half / "model.safetensors").is_file()
    with trained.lock():
        assert not trained.done("merge") and not trained.output("merge").exists()
        merge.merge(trained)
    assert trained.done("merge") and not half.exists()


@pytest.mark.parametrize(("gib", "device"), [(1.0, "cuda"), (1e-4, "cpu")])
def test_a_model_that_is_too_large_for_the_card_is_compared_on_the_cpu(
    gib: float, device: str, run: Run, tiny_model: Path
) -> None:
    run.recipe.hardware.device, run.recipe.hardware.memory_gib = "cuda", gib
    assert merge._device(run, tiny_model) == device


def test_nan_in_a_later_row() -> None:
    """``max`` of a list hides a NaN that does not come first."""
    rows = [torch.zeros(2), torch.tensor([0.0, math.nan])]
    assert math.isnan(merge._distance([torch.zeros(2)] * 2, rows))
