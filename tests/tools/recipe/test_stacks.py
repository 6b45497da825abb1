"""Numbers of models with an encoder, beside transformers' own count of the same model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.configs import config_of
from tools.errors import UserError
from tools.recipe import arch as numbers
from tools.recipe import stacks
from tools.recipe.compose import RECIPES
from tools.recipe.fill import fill
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Architecture


def layer(file: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    read: Any = OmegaConf.to_container(OmegaConf.load(file))
    return read


FILES = {
    file.stem: read
    for file in sorted((RECIPES / "models").glob("*.yaml"))
    if (read := layer(file))["model"]["kind"] != "causal"
}


def arch_of(name: str) -> Architecture:
    made: Architecture = fill(Architecture, FILES[name]["model"]["arch"])
    return made


def network(name: str) -> Any:
    """Transformers' own, without memory for weights."""
    import torch

    kind = KINDS[FILES[name]["model"]["kind"]]
    with torch.device("meta"):
        return kind.loader().from_config(config_of(arch_of(name)))


def test_every_family_has_its_layers() -> None:
    families = {one["model"]["family"] for one in FILES.values()}
    assert families == {
        "T5", "UL2", "BART", "BERT", "RoBERTa", "ALBERT", "ELECTRA", "DistilBERT", "DeBERTa",
    }  # fmt: skip
    assert len(FILES) == 28


@pytest.mark.parametrize("name", FILES)
def test_parameters_are_those_of_transformers(name: str) -> None:
    """To the one; of a T5 with a head of its own transformers ties it, so there is one less."""
    arch, net = arch_of(name), network(name)
    hidden = arch.vocab * arch.hidden if not arch.tied else 0
    assert numbers.parameters(arch) == sum(one.numel() for one in net.parameters()) + hidden
    # Each linear layer but the head, by its own name and shape.
    head = net.get_output_embeddings()
    import torch

    theirs = sorted(
        (path.rpartition(".")[2], one.in_features, one.out_features)
        for path, one in net.named_modules()
        if isinstance(one, torch.nn.Linear) and one is not head
    )
    ours = [
        (one.name, one.wide, one.out) for one in stacks.linears(arch) for _ in range(one.stored)
    ]
    assert sorted(ours) == theirs
    assert set(FILES[name]["train"]["lora_target_modules"]) == {one[0] for one in theirs}


@pytest.mark.parametrize("name", FILES)
def test_the_files_tell_the_same_numbers(name: str, tmp_path: Path) -> None:
    """Also a config.json that transformers wrote, in which every T5's head is tied."""
    config_of(arch_of(name)).save_pretrained(tmp_path)
    assert numbers.read(tmp_path / "config.json") == arch_of(name)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # What stands in the makers' own files: defaults are left out.
        ("t5-small", {"model_type": "t5", "d_model": 512, "d_kv": 64, "d_ff": 2048,
                      "num_layers": 6, "num_heads": 8, "vocab_size": 32128,
                      "relative_attention_num_buckets": 32, "n_positions": 512}),
        ("t5-v1_1-base", {"model_type": "t5", "d_model": 768, "d_kv": 64, "d_ff": 2048,
                          "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
                          "vocab_size": 32128, "feed_forward_proj": "gated-gelu",
                          "tie_word_embeddings": False}),
        ("roberta-base", {"model_type": "roberta", "hidden_size": 768, "num_hidden_layers": 12,
                          "num_attention_heads": 12, "intermediate_size": 3072,
                          "max_position_embeddings": 514, "type_vocab_size": 1,
                          "vocab_size": 50265}),
    ],
)  # fmt: skip
def test_published_files(name: str, published: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(published))
    assert numbers.read(tmp_path / "config.json") == arch_of(name)


def test_a_file_that_tells_too_little(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 64}))
    with pytest.raises(UserError, match=r"tells no layers, mlp, vocab, heads; add model\.arch"):
        numbers.read(tmp_path / "config.json")


def test_one_layer_is_stored_and_all_are_computed() -> None:
    albert, bert = arch_of("albert-base-v2"), arch_of("bert-base-uncased")
    assert numbers.parameters(albert) < 0.11 * numbers.parameters(bert)
    assert numbers.active_parameters(albert) > 0.99 * numbers.active_parameters(bert)


def test_what_of_a_t5_is_not_packed() -> None:
    arch = arch_of("t5-base")
    wo = 24 * arch.mlp * arch.hidden
    assert numbers.linear_parameters(arch) - numbers.packed_parameters(arch) == wo
    bart = arch_of("bart-base")
    assert numbers.linear_parameters(bart) == numbers.packed_parameters(bart)
