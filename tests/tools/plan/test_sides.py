"""Plans of models with an encoder: what layers keep beside autograd, and what is printed."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.configs import config_of
from tests.tools.plan.test_layer import saved
from tests.tools.recipe.test_stacks import FILES, arch_of
from tools.plan import sides
from tools.plan.job import Job, job
from tools.plan.memory import adapter_parameters, loss_bytes, peak, weights
from tools.plan.verdict import plan, render
from tools.recipe import footprint
from tools.recipe.arch import parameters
from tools.recipe.kinds import KINDS, kind_of
from tools.recipe.load import load
from tools.recipe.schema import Architecture, Encoder, Recipe

TINY = {
    "t5": Architecture(64, 2, 128, 96, 4, 4, True, False, 16,
                       encoder=Encoder("t5", decoder_layers=2, relative=32)),
    "t5-v1_1": Architecture(64, 2, 128, 96, 4, 4, False, True, 16,
                            encoder=Encoder("t5", decoder_layers=2, relative=32)),
    "bart": Architecture(64, 2, 128, 96, 4, 4, True, False,
                         encoder=Encoder("bart", decoder_layers=2, positions=512)),
    "bert": Architecture(64, 2, 128, 96, 4, 4, True, False,
                         encoder=Encoder("bert", positions=512, types=2)),
    "distilbert": Architecture(64, 2, 128, 96, 4, 4, True, False,
                               encoder=Encoder("distilbert", positions=512)),
    "deberta": Architecture(64, 2, 128, 96, 4, 4, True, False,
                            encoder=Encoder("deberta", relative=1024)),
    "deberta-v2": Architecture(64, 2, 128, 96, 4, 4, True, False,
                               encoder=Encoder("deberta-v2", relative=64)),
}  # fmt: skip


def in_fp32(arch: Architecture, method: Any, **values: Any) -> Job:
    names = tuple({one.name for one in sides.linears(arch)})
    plain = {"base_bytes": 4, "compute_bytes": 4, "embedding_bytes": 4, "rank": 4}
    assert arch.encoder
    # BART's attention has no dropout as configured here.
    rows = {"micro_batch": 1, "answer": 16, "checkpointing": False}
    rows["eager"] = arch.encoder.type != "bart"
    return Job(arch, method, 64, targets=names, **plain | rows | values)


def measured(made: Job) -> float:
    """Bytes that one more layer of each side keeps, in a pass of the job's tokens."""

    def size(more: int) -> int:
        arch = made.arch
        assert arch.encoder
        depth = arch.encoder.decoder_layers
        encoder = dataclasses.replace(arch.encoder, decoder_layers=depth and depth + more)
        config = config_of(dataclasses.replace(arch, layers=arch.layers + more, encoder=encoder))
        torch.manual_seed(0)
        net = kind_of(config.model_type).loader().from_config(config, dtype=torch.float32).train()
        if made.method == "lora":
            net = get_peft_model(net, LoraConfig(r=4, target_modules=list(made.targets)))
        ids = torch.arange(made.sequence)[None] % 96
        answer = {"labels": torch.arange(made.answer)[None] % 96} if depth else {}
        return saved(lambda: net(input_ids=ids, **answer).logits, net.parameters())

    return size(1) - size(0)


def counted(made: Job) -> float:
    assert made.arch.encoder
    both = ("encoder", "decoder") if made.arch.encoder.decoder_layers else ("encoder",)
    return sum(sides._kept(made, side) for side in both)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", TINY)
def test_layers_keep_what_autograd_saves(family: str, method: str) -> None:
    made = in_fp32(TINY[family], method)
    assert counted(made) == pytest.approx(measured(made), rel=0.08)


def test_checkpointing_keeps_inputs_alone() -> None:
    made = in_fp32(TINY["bart"], "lora", checkpointing=True)
    # Two layers a side, 64 wide, fp32.
    assert sides.held(made).stored == 2 * 64 * 4 * (64 + 16)
    assert sides.held(dataclasses.replace(made, checkpointing=False)).stored == 2 * counted(made)


def test_logits_are_of_answers_alone() -> None:
    conditional, masked = (in_fp32(TINY[one], "lora", micro_batch=4) for one in ("t5", "bert"))
    assert sides.places(conditional) == 4 * 16 and sides.places(masked) == 4
    assert peak(masked).logits == 4 * 96 * 12 < loss_bytes(masked) / 60


def test_scores_of_pairs_grow_by_the_square() -> None:
    made = in_fp32(TINY["deberta"], "lora")
    twice = dataclasses.replace(made, sequence=128)
    # Of four heads, seven kinds of numbers in fp32; the rest is twice as much, and embeddings of
    # relative positions the same.
    assert counted(twice) - 2 * counted(made) + 1024 * 64 * 4 > 2 * 64 * 64 * 4 * 7 * 4
    plain = in_fp32(TINY["bert"], "lora", eager=False)
    assert counted(dataclasses.replace(plain, sequence=128)) == 2 * counted(plain)


def test_adapters_are_counted_as_peft_makes_them() -> None:
    for name, arch in {**TINY, "albert": arch_of("albert-base-v2")}.items():
        made = in_fp32(arch, "lora")
        with torch.device("meta"):
            net = kind_of(config_of(arch).model_type).loader().from_config(config_of(arch))
            net = get_peft_model(net, LoraConfig(r=4, target_modules=list(made.targets)))
        theirs = sum(one.numel() for key, one in net.named_parameters() if "lora_" in key)
        assert adapter_parameters(made) == theirs, name


def test_weights_are_all_of_them() -> None:
    for arch in TINY.values():
        assert weights(in_fp32(arch, "full")) == 4 * parameters(arch)
    packed = in_fp32(TINY["t5"], "qlora", base_bytes=0.5)
    # wo of four layers stays whole.
    whole = 4 * parameters(TINY["t5"])
    assert weights(packed) == whole - 3.5 * (24 * 64 * 64 + 4 * 64 * 128)


def recipe(name: str, folder: Path, card: str = "4090") -> Recipe:
    mine = folder / "mine.yaml"
    layers = f"base, hardware/{card}, models/{name}, data/reasoning, serve/helm"
    mine.write_text(
        f"defaults: [{layers}]\ntrain: {{adapter: lora, lora_r: 8, sequence_len: 512, "
        "micro_batch_size: 8, optimizer: adamw_torch, learning_rate: 1e-4}\n"
    )
    return load(mine).recipe


@pytest.mark.parametrize("card", ["4090", "cpu"])
@pytest.mark.parametrize("name", ["t5-base", "ul2", "bart-large", "bert-base-cased",
                                  "albert-base-v2", "deberta-v2-xlarge"])  # fmt: skip
def test_a_verdict_is_printed(name: str, card: str, tmp_path: Path) -> None:
    found = plan(recipe(name, tmp_path, card), tmp_path)
    text = render(found)
    assert text.startswith("plan: mine ") and "tokens a pass of prompts" in text
    assert "answers a row, each learnt apart" in text
    assert {one.name for one in found.offers} == {"none", "int8", "nf4"}
    assert found.verdict == ("does not fit" if name == "ul2" else "fits") or card == "cpu"


def test_the_longest_pass_of_an_encoder_costs_what_its_layers_do(tmp_path: Path) -> None:
    """6 operations a weight of full training, for the encoder's and few of the head's."""
    made = dataclasses.replace(job(recipe("bert-base-cased", tmp_path)), method="full")
    layers = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert sides.flops_per_token(made, 3) == pytest.approx(6 * layers, rel=0.01)


def test_serving_keeps_keys_of_prompt_and_answer() -> None:
    t5, bert = arch_of("t5-3b"), arch_of("bert-large-cased")
    # 24 layers, 32 heads of 128, keys and values, two bytes; the prompt's and the answer's.
    assert footprint.cache(t5, 1) == 2 * 2 * 24 * 32 * 128 * 2
    assert footprint.cache(bert, 100) == 0


def test_every_layer_is_of_a_kind_that_its_type_says() -> None:
    for name, one in FILES.items():
        assert kind_of(one["model"]["arch"]["encoder"]["type"]) is KINDS[one["model"]["kind"]], name
