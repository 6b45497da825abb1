"""Several adapters as one: what PEFT makes of them on the real base, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.tools.stages import bases
from tests.tools.stages.merging.test_whole import adapter_of, merge
from tools.errors import StageError, UserError
from tools.recipe.schema import Combination
from tools.stages.merging.several import How, combine

WEIGHTS = [0.7, -0.4]
PROMPT = torch.tensor([[5, 250, 17, 99, 3, 42]])
Make = Callable[..., Path]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return bases.write(tmp_path / "base", "llama", "shards")


@pytest.fixture
def make(base: Path, tmp_path: Path) -> Make:
    """Makes an adapter of its own numbers."""

    def made(name: str, seed: int, **options: Any) -> Path:
        return adapter_of(base, tmp_path / name, seed=seed, **options)

    return made


def logits(net: Any) -> Any:
    with torch.inference_mode():
        return net.eval()(PROMPT).logits


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def by_peft(base: Path, parts: list[Path], how: How) -> Any:
    """PEFT's own, on the base with its numbers."""
    net: Any = PeftModel.from_pretrained(load(base), parts[0], adapter_name="0")
    for number, part in enumerate(parts[1:], start=1):
        net.load_adapter(part, adapter_name=str(number))
    names = [str(number) for number in range(len(parts))]
    torch.manual_seed(how.seed)
    kind = how.combination
    net.add_weighted_adapter(names, WEIGHTS, "both", combination_type=kind, density=how.density)
    net.set_adapter("both")
    return logits(net)


@pytest.mark.parametrize("kind", ["cat", "linear", "ties", "dare_linear", "dare_ties"])
def test_it_is_what_peft_makes(kind: str, base: Path, make: Make, tmp_path: Path) -> None:
    parts = [make("one", 1), make("other", 2)]
    how = How(cast(Combination, kind), 0.5, 5)
    weighted = list(zip(parts, WEIGHTS, strict=True))
    both = combine(base, weighted, how, tmp_path / "both")
    merged = logits(load(merge(base, both, tmp_path / "merged")))
    assert (merged - by_peft(base, parts, how)).abs().max() < 1e-4
    assert (merged - logits(load(base))).abs().max() > 0.01
    assert json.loads((both / "adapter_config.json").read_text())["r"] == (
        8 if kind == "cat" else 4
    )
    # What falls to chance falls by the seed alone.
    again = combine(base, weighted, how, tmp_path / "again")
    other = combine(base, weighted, How(how.combination, 0.5, 6), tmp_path / "other seed")
    first, same, apart = (
        load_file(one / "adapter_model.safetensors") for one in (both, again, other)
    )
    assert all(torch.equal(one, same[key]) for key, one in first.items())
    differs = any(not torch.equal(one, apart[key]) for key, one in first.items())
    assert differs == kind.startswith("dare")


@pytest.mark.parametrize(
    "options", [{}, {"use_rslora": True}, {"target_modules": ["embed_tokens", "q_proj"]}]
)
def test_cat_is_the_weighted_sum_of_the_changes(
    options: dict[str, Any], base: Path, make: Make, tmp_path: Path
) -> None:
    """Of two ranks, on layers of which one has some and the other others."""
    parts = [
        make("one", 1, **options),
        make("other", 2, r=8, lora_alpha=4, target_modules=["q_proj"]),
    ]
    both = combine(
        base, list(zip(parts, WEIGHTS, strict=True)), How("cat", 0.5, 0), tmp_path / "both"
    )
    found = load(merge(base, both, tmp_path / "merged")).state_dict()
    plain = load(base).state_dict()
    alone = [load(merge(base, part, tmp_path / f"with {part.name}")).state_dict() for part in parts]
    for key, one in plain.items():
        changes = [weight * (net[key] - one) for weight, net in zip(WEIGHTS, alone, strict=True)]
        assert torch.allclose(found[key], one + sum(changes), atol=1e-5)


def test_each_of_them_is_noted_in_the_weights(base: Path, make: Make, tmp_path: Path) -> None:
    parts = [make("one", 1), make("other", 2)]
    both = combine(base, [(part, 1.0) for part in parts], How("cat", 0.5, 0), tmp_path / "both")
    from tools.stages.merging import merge_folders

    (tmp_path / "merged").mkdir()
    merge_folders(base, both, tmp_path / "merged", None, parts)
    for part in parts:
        with pytest.raises(UserError, match=f"holds the adapter {part} already"):
            merge(tmp_path / "merged", part, tmp_path / f"again {part.name}")


def refused(base: Path, parts: list[Path], kind: str, folder: Path) -> str:
    how = How(cast(Combination, kind), 0.5, 0)
    with pytest.raises((UserError, StageError)) as caught:
        combine(base, [(part, 0.5) for part in parts], how, folder)
    assert not folder.exists()
    return str(caught.value)


def test_two_ranks(base: Path, make: Make, tmp_path: Path) -> None:
    parts = [make("one", 1), make("other", 2, r=8)]
    for kind in ("linear", "ties", "dare_linear", "dare_ties"):
        said = refused(base, parts, kind, tmp_path / "both")
        assert "is [4, " in said and ", [8, " in said and "set merge.combine=cat" in said


def test_another_base(base: Path, make: Make, tmp_path: Path) -> None:
    deep = bases.Family("llama", {**bases.FAMILIES["llama"].config, "hidden_size": 32}, [], "")
    config, files = bases.weights(deep)
    config.save_pretrained(tmp_path / "narrow")
    save_file(files, tmp_path / "narrow" / "model.safetensors", metadata={"format": "pt"})
    other = adapter_of(tmp_path / "narrow", tmp_path / "adapter of it")
    said = refused(base, [make("one", 1), other], "cat", tmp_path / "both")
    assert f"{other} is the adapter of another base" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": {"embed_tokens": [5]}}, "trainable_token_indices"),
    ],
)
def test_more_than_two_matrices(
    options: dict[str, Any], said: str, base: Path, make: Make, tmp_path: Path
) -> None:
    parts = [make("one", 1), make("other", 2, **options)]
    assert f"with {said}, which cannot be weighed" in refused(base, parts, "cat", tmp_path / "both")


def test_grown_embeddings(base: Path, make: Make, tmp_path: Path) -> None:
    parts = [make("one", 1), make("other", 2, rows=302)]
    assert "is no matrix A or B" in refused(base, parts, "cat", tmp_path / "both")


def test_what_is_not_there_or_cut_off(base: Path, make: Make, tmp_path: Path) -> None:
    one, other = make("one", 1), make("other", 2)
    path = other / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    said = refused(base, [one, other], "cat", tmp_path / "both")
    assert f"{path} is missing, cut off or no file of safetensors" in said
    path.unlink()
    assert f"{path} is missing" in refused(base, [one, other], "cat", tmp_path / "both")
