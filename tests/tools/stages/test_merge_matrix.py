"""Every family of recipes/models, by every way to train: merged, it computes what was trained."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.merge_matrix import (
    FORGETFUL,
    FORMS,
    LIMIT,
    NF4,
    ROUNDED,
    ROUNDING,
    WAYS,
    cell,
    expected,
    load,
    logits,
    main,
    merge,
    train,
)
from tests.tools.stages import bases
from tools.base_model.pickled import as_safetensors
from tools.check.rules.targets import kind
from tools.errors import StageError
from tools.recipe.compose import RECIPES
from tools.recipe.load import load as recipe
from tools.stages.merging.rounding import Rounding


def kinds(folder: Path) -> dict[str, dict[str, Any]]:
    """Shape and type of each tensor, by file."""
    return {
        path.name: {name: (one.shape, one.dtype) for name, one in load_file(path).items()}
        for path in folder.glob("*.safetensors")
    }


#: Every way of every family, its base in one of the four forms by turns: each family has all four.
CASES = [
    (name, way, FORMS[(row + column) % len(FORMS)])
    for row, name in enumerate(bases.FAMILIES)
    for column, way in enumerate(WAYS)
]


@pytest.mark.parametrize(("name", "way", "form"), CASES)
def test_the_matrix(name: str, way: str, form: str, tmp_path: Path) -> None:
    base = as_safetensors(bases.write(tmp_path / "base", name, form), tmp_path / "cache")
    adapter = train(base, bases.FAMILIES[name], way, tmp_path / "adapter")
    if way == "tied" and name in FORGETFUL:
        with pytest.raises(StageError, match=r"leave train\.peft_ensure_weight_tying out"):
            merge(base, adapter, tmp_path / "merged")
        return
    rounded = way in ROUNDED
    merged = merge(base, adapter, tmp_path / "merged", ROUNDING if rounded else None)
    before, wanted = expected(base, adapter, rounded)
    found = logits(load(merged))
    assert (wanted - before).abs().max() > 0.01
    assert (wanted - found).abs().max() < LIMIT
    ours, theirs = kinds(merged), kinds(base)
    assert ours.keys() == theirs.keys()
    for file, tensors in theirs.items():
        more = ours[file].keys() - tensors.keys()
        # What is tied in the base and no more in what was trained needs a tensor of its own.
        assert more <= {"lm_head.weight"}
        assert not more or not load(merged).all_tied_weights_keys
        assert tensors.items() <= ours[file].items()


@pytest.mark.parametrize("name", bases.BESIDE)
@pytest.mark.parametrize("way", ["lora", "full"])
def test_families_that_check_knows_beside(name: str, way: str, tmp_path: Path) -> None:
    said, fault = cell(name, way, tmp_path)
    assert not fault and float(said.split()[0]) < LIMIT


@pytest.mark.parametrize("file", sorted((RECIPES / "models").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_model_that_is_shipped_has_its_family_here(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"defaults: [{RECIPES}/4090, {file.with_suffix('')}]\n")
    model = recipe(mine).recipe.model
    if model.kind != "causal":  # those of tests.family_matrix, whose test holds them
        return
    assert kind(model) in {family.kind for family in bases.FAMILIES.values()}


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["gpt2"], ["lora", "tied"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[0] == "gpt2" and float(line[1]) < LIMIT and line[2] == "a"
    monkeypatch.setattr("tests.merge_matrix.LIMIT", 0.0)
    assert main(["gpt2"], ["lora"]) == 1
    assert "gpt2, lora: logits are" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("way", ["lora", "qlora"])
def test_a_base_of_half_precision_is_rounded_once(
    way: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    """The sum is made in fp32, 4 bits are those of the type that was trained in."""
    base = bases.write(tmp_path / "base", "gpt2", "safetensors", dtype)
    adapter = train(base, bases.FAMILIES["gpt2"], way, tmp_path / "adapter")
    rounded = way == "qlora"
    how = Rounding(NF4, torch.bfloat16, "cpu") if rounded else None
    merged = load_file(merge(base, adapter, tmp_path / "merged", how) / "model.safetensors")
    net = AutoModelForCausalLM.from_pretrained(
        base, **({"quantization_config": NF4, "dtype": torch.bfloat16} if rounded else {})
    )
    net = (net.dequantize() if rounded else net).float()
    whole = PeftModel.from_pretrained(net, adapter).merge_and_unload().state_dict()
    name = "h.1.attn.c_attn.weight"
    wanted = whole[f"transformer.{name}"]
    assert torch.equal(merged[name], (wanted.T if rounded else wanted).to(dtype))
    # All else is the base's, bit by bit.
    assert torch.equal(merged["wte.weight"], load_file(base / "model.safetensors")["wte.weight"])
