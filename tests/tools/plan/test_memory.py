"""The memory formula: its parts by hand arithmetic, its settings in the direction they must go."""

import dataclasses
from pathlib import Path

import pytest

from tools.plan import probes
from tools.plan.job import ALL_LINEAR, NF4_DOUBLE, Job
from tools.plan.memory import (
    CONTEXT,
    LOSS_BYTES,
    adapter_parameters,
    loss_bytes,
    optimizer_state_bytes,
    peak,
)
from tools.plan.points import TOLERANCE, TOLERANCE_KEPT
from tools.recipe.arch import (
    active_parameters,
    embedding_parameters,
    linear_parameters,
    parameters,
)
from tools.recipe.schema import Architecture

LLAMA_8B = Architecture(4096, 32, 14336, 128256, 32, 8, tied=False)
GPT2 = Architecture(768, 12, 3072, 50257, 12, 12, tied=True, gated=False)
QLORA = Job(LLAMA_8B, "qlora", 2048, 2, rank=32, base_bytes=NF4_DOUBLE, embedding_bytes=4)


def change(**fields: object) -> Job:
    return dataclasses.replace(QLORA, **fields)  # type: ignore[arg-type]


def test_parameters_by_hand() -> None:
    attention = 2 * 4096 * 4096 + 2 * 4096 * 1024
    assert linear_parameters(LLAMA_8B) == 32 * (attention + 3 * 4096 * 14336)
    assert embedding_parameters(LLAMA_8B) == 2 * 128256 * 4096
    assert parameters(LLAMA_8B) == pytest.approx(8.03e9, rel=0.001)
    assert parameters(GPT2) == pytest.approx(124e6, rel=0.01)  # 1 M of positions and norms aside


# By the makers: 46.7 and 12.9 billion; 14.3 and 2.7; 30.5 and 3.3.
MIXTRAL = Architecture(4096, 32, 14336, 32000, 32, 8, tied=False, experts=8, experts_used=2)
QWEN_MOE = Architecture(2048, 24, 1408, 151936, 16, 16, tied=False, experts=60, experts_used=4,
                        shared_mlp=5632)  # fmt: skip
QWEN3_MOE = Architecture(2048, 48, 768, 151936, 32, 4, tied=False, head_dim=128, experts=128,
                         experts_used=8)  # fmt: skip


@pytest.mark.parametrize(
    ("arch", "total", "active"),
    [(MIXTRAL, 46.70, 12.88), (QWEN_MOE, 14.32, 2.69), (QWEN3_MOE, 30.53, 3.35)],
)
def test_a_mixture_has_more_than_a_token_goes_through(
    arch: Architecture, total: float, active: float
) -> None:
    assert parameters(arch) == pytest.approx(total * 1e9, rel=1e-3)
    worked = active_parameters(arch) + embedding_parameters(arch)
    assert worked == pytest.approx(active * 1e9, rel=2e-3)
    plain = change(arch=dataclasses.replace(arch, experts=0, experts_used=0, shared_mlp=0))
    assert active_parameters(plain.arch) == linear_parameters(plain.arch)


def test_experts_stay_whole_under_a_4_bit_base() -> None:
    job = change(arch=MIXTRAL, targets=("q", "k", "v", "o"), embedding_bytes=2)
    attention = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    others = parameters(MIXTRAL) - attention
    assert peak(job).weights == attention * NF4_DOUBLE + 2 * others
    # No adapter can sit on an expert, whatever is asked for.
    assert adapter_parameters(job) == adapter_parameters(change(arch=MIXTRAL))


def test_adapters_by_hand() -> None:
    wide, key, mlp = 4096, 1024, 14336
    a_layer = 2 * (wide + wide) + 2 * (wide + key) + 3 * (wide + mlp)
    assert adapter_parameters(QLORA) == 32 * 32 * a_layer == 83_886_080
    assert adapter_parameters(change(targets=("q", "v"))) == 32 * 32 * (2 * wide + wide + key)
    fused = change(targets=("qkv",))
    assert adapter_parameters(fused) == 32 * 32 * (wide + wide + 2 * key)
    assert adapter_parameters(change(dora=True)) > adapter_parameters(QLORA)
    gpt2 = change(arch=GPT2)
    assert adapter_parameters(gpt2) == 32 * 12 * (4 * 2 * 768 + 2 * (768 + 3072))  # no gate


def test_the_parts_by_hand() -> None:
    found, tokens = peak(QLORA), 2 * 2048
    assert found.weights == pytest.approx(6.979e9 * 0.51587 + 1.0507e9 * 4, rel=0.001)
    assert found.adapters == 83_886_080 * 4
    assert found.optimizer == 83_886_080 * (4 + 8)
    # The loss is larger than a live layer; the last norm keeps an fp32 copy, and gives 16 bit.
    assert found.activations == tokens * (2 * 32 * 4096 + 4 * 4096 + 2 * 4096)
    assert found.logits == tokens * 12 * 128256
    assert found.total == pytest.approx(17.12e9, rel=0.001)


def test_a_fused_loss_leaves_the_live_layer() -> None:
    kernels, tokens = change(loss="fused", kernels=("qkv", "o", "mlp")), 2 * 2048
    found = peak(kernels)
    norms, attention = 2 * 4 * 4096, 2 * (2 * 4096 + 2 * 1024) + 4 * 32
    kept = norms + attention + 2 * 4096 + 2 * 4096 + 2 * 2 * 14336
    gradients = 2 * (14336 + 2 * 4096)
    whole = 2 * 4096 * 14336  # one matrix of the 4-bit base at a time
    assert found.activations + found.logits == tokens * (2 * 32 * 4096 + kept + gradients) + whole


LESS = [
    {"loss": "chunked"},
    {"micro_batch": 1},
    {"sequence": 1024},
    {"rank": 8},
    {"targets": ("q", "v")},
    {"optimizer": "paged_adamw_8bit"},
    {"offload": True},
    {"embedding_bytes": 2},
    {"adapter_bytes": 2},
    {"zero_stage": 2, "gpus": 2},
    {"loss": "liger_fused"},
]
MORE = [
    {"gpus": 2},
    {"checkpointing": False},
    {"method": "lora", "base_bytes": 2.0, "embedding_bytes": 2},
    {"method": "full", "base_bytes": 2.0, "embedding_bytes": 2},
    {"trained_matrices": 2},
    {"saved": ("attention",)},
    {"saved": ("down",)},
    {"upcast": True},
    {"eager": True, "checkpointing": False},
]


@pytest.mark.parametrize("fields", LESS)
def test_takes_less(fields: dict[str, object]) -> None:
    assert peak(change(**fields)).total < peak(QLORA).total


@pytest.mark.parametrize("fields", MORE)
def test_takes_more(fields: dict[str, object]) -> None:
    assert peak(change(**fields)).total > peak(QLORA).total


@pytest.mark.parametrize(
    ("name", "size", "bytes_each"),
    [
        ("adamw_torch", 4, 8),
        ("adamw_torch_fused", 2, 4),  # torch keeps its states in the weights' type
        ("adamw_bnb_8bit", 4, 2),
        ("paged_adamw_8bit", 4, 2),
        ("paged_adamw_32bit", 2, 8),
        ("lion_8bit", 4, 1),
        ("sgd", 4, 4),
        ("something_new", 4, 8),
    ],
)
def test_optimizer_states(name: str, size: int, bytes_each: float) -> None:
    assert optimizer_state_bytes(name, size) == bytes_each


def test_full_gradients_come_while_activations_go() -> None:
    full = change(method="full", base_bytes=2.0, embedding_bytes=2, targets=ALL_LINEAR)
    once, accumulated = peak(full), peak(dataclasses.replace(full, accumulation=4))
    gradients = parameters(LLAMA_8B) * 2
    states = gradients * 2
    assert accumulated.optimizer == states + gradients
    assert once.optimizer == states + gradients - once.activations - once.logits
    assert once.adapters == 0


def test_ddp_keeps_gradients_twice() -> None:
    alone, beside = peak(QLORA), peak(change(gpus=2))
    gradients = adapter_parameters(QLORA) * 4
    assert beside.optimizer == alone.optimizer + gradients
    assert dataclasses.replace(beside, optimizer=alone.optimizer) == alone


def test_zero_parts_what_its_stage_says() -> None:
    alone = peak(change(method="full", base_bytes=2.0, accumulation=2))
    stages = {
        stage: peak(change(method="full", base_bytes=2.0, accumulation=2, zero_stage=stage, gpus=2))
        for stage in (1, 2, 3)
    }
    assert stages[2].optimizer == alone.optimizer / 2 < stages[1].optimizer < alone.optimizer
    assert stages[2].weights == alone.weights
    layer = linear_parameters(LLAMA_8B) / 32 * 2
    gathered = 2 * layer + embedding_parameters(LLAMA_8B) * QLORA.embedding_bytes
    assert stages[3].weights == alone.weights / 2 + gathered / 2


@pytest.mark.parametrize("probe", probes.known(Path("nowhere")), ids=lambda one: one.job.method)
def test_the_measured_runs(probe: probes.Probe) -> None:
    """An H200's: the promise of docs/planning.md, and much better than that."""
    predicted = (peak(probe.job).total - CONTEXT) / 2**30
    promised = TOLERANCE if probe.job.checkpointing else TOLERANCE_KEPT
    assert predicted == pytest.approx(probe.peak_gib, rel=0.02) and promised > 0.02


def test_what_the_losses_hold() -> None:
    rows, one = change(loss="chunked"), change(loss="chunked", micro_batch=1, sequence=4096)
    # Chunks across the rows of several are no view of the logits: they are copied.
    assert loss_bytes(rows) == 4096 * 128256 * 8
    assert loss_bytes(one) == 4096 * 128256 * LOSS_BYTES["chunked"]
    assert loss_bytes(change(loss="chunked", compute_bytes=4)) == 4096 * 128256 * 12
    # 32 pieces of the vocabulary's 32 x the width: 128 tokens' logits, and the input's gradient.
    assert loss_bytes(change(loss="liger_fused")) == 2 * (4096 * 4096 + 128 * 128256)


def test_a_fused_loss_frees_only_what_is_above_a_live_layer() -> None:
    """Of 2.4 GB of logits 0.9 GB are freed: the layer that is computed again takes the rest."""
    mistral = Architecture(4096, 32, 14336, 32000, 32, 8, tied=False)
    chunked = change(arch=mistral, loss="chunked", sequence=8192, rank=128, dropout=True,
                     kernels=("qkv", "o", "mlp"))  # fmt: skip
    fused = dataclasses.replace(chunked, loss="liger_fused")
    freed = peak(chunked).total - peak(fused).total
    assert 0 < freed < loss_bytes(chunked) / 3


def test_levers_that_keep_less_without_checkpointing() -> None:
    kept = change(
        checkpointing=False, dropout=True, loss="liger_fused", method="lora", base_bytes=2.0
    )
    levers: list[dict[str, object]] = [
        {"dropout": False},
        {"liger": ("rms_norm",)},
        {"liger": ("glu",)},
        {"kernels": ("qkv", "o", "mlp")},
    ]
    for lever in levers:
        assert peak(dataclasses.replace(kept, **lever)).total < peak(kept).total, lever  # type: ignore[arg-type]


def test_what_costs_nothing() -> None:
    """Offloaded saves; what is saved of layers that are kept whole anyway."""
    offloaded = change(saved=("attention", "down"), saved_offload=True)
    assert peak(offloaded).total == peak(QLORA).total
