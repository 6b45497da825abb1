"""Names in the files and in transformers; weights in 4 bits, and those in several tensors."""

from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from tests import kin
from tests.tools.stages import bases
from tools.errors import UserError
from tools.stages.merging import weights
from tools.stages.merging.skeleton import Skeleton


def shapes(base: Path) -> dict[str, tuple[int, ...]]:
    return {name: one.shape for name, one in weights.read(base).items()}


@pytest.mark.parametrize(
    ("name", "file", "weight"),
    [
        ("gpt2", "h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.weight"),
        ("gpt2", "h.0.attn.bias", None),  # a mask that transformers makes itself
        ("bloom", "word_embeddings.weight", "transformer.word_embeddings.weight"),
        ("pythia", "embed_out.weight", "lm_head.weight"),
        ("opt", "decoder.embed_positions.weight", "model.decoder.embed_positions.weight"),
        ("llama", "lm_head.weight", "lm_head.weight"),
    ],
)
def test_names_as_published(name: str, file: str, weight: str | None, tmp_path: Path) -> None:
    base = bases.write(tmp_path / "base", name, "safetensors")
    found = shapes(base)
    assert file in found and Skeleton(base).names(found).get(file) == weight


@pytest.mark.parametrize(
    ("name", "count", "turned"),
    [("gpt2", 8, 8), ("llama", 14, 0), ("opt", 12, 0), ("falcon", 0, 0)],
)
def test_what_bitsandbytes_replaces(name: str, count: int, turned: int, tmp_path: Path) -> None:
    """Layers of the blocks: no embedding, no head; Conv1D lies the other way round."""
    base = bases.write(tmp_path / "base", name, "safetensors")
    found = Skeleton(base).in_four_bits(BitsAndBytesConfig(load_in_4bit=True))
    assert (len(found), sum(found.values())) == (count, turned)


def test_experts_lie_in_several_tensors(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "mixtral", vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, num_local_experts=2, bos_token_id=1,
        eos_token_id=1,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    skeleton = Skeleton(tmp_path)
    named = skeleton.names(shapes(tmp_path))
    assert skeleton.joined and not set(skeleton.joined) & set(named.values())
    assert "model.layers.0.self_attn.q_proj.weight" in named.values()


@pytest.mark.parametrize(
    ("family", "file", "weight", "tied"),
    [
        ("t5", "shared.weight", "shared.weight", 3),
        ("bart", "model.shared.weight", "model.shared.weight", 3),
        ("albert", "predictions.bias", "predictions.bias", 2),
    ],
)
def test_models_of_other_kinds(
    family: str, file: str, weight: str, tied: int, tmp_path: Path
) -> None:
    """Built as their own kind: a head that is tied, and embeddings of both sides, are one."""
    skeleton = Skeleton(kin.folder(family, tmp_path))
    assert skeleton.names(shapes(tmp_path))[file] == weight
    assert len(skeleton.tied()) == tied


def test_a_model_of_no_kind(tmp_path: Path) -> None:
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a vit, which transformers has as no causal model"):
        Skeleton(tmp_path)
