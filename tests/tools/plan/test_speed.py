"""Speed: the arithmetic, and ranges that hold what was published and measured."""

import dataclasses
from pathlib import Path

import pytest

from tools.plan import probes
from tools.plan.job import Job
from tools.plan.probes import Probe
from tools.plan.speed import Range, cost, flops_per_token, hours, nearest, passes, tokens_per_second
from tools.recipe.schema import Architecture, Hardware

LLAMA_7B = Architecture(4096, 32, 11008, 32000, 32, 32, tied=False)
A100 = Hardware("a100", "a100", "cuda", 39.35, "8.0", 312, [])
RTX = Hardware("4090", "4090", "cuda", 23.5, "8.9", 165, [])
QLORA = Job(LLAMA_7B, "qlora", 2048, 1, rank=8)


def test_operations_a_token() -> None:
    weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 32000 * 4096
    assert flops_per_token(QLORA) == 6 * weights
    assert flops_per_token(dataclasses.replace(QLORA, checkpointing=False)) == 4 * weights
    assert flops_per_token(dataclasses.replace(QLORA, method="full")) == 8 * weights


# LLaMA-Factory's table: tokens a pass, and tokens/s.
TABLE = [(1024, 2295), (4096, 2415), (2048, 2741), (4096, 2926), (8192, 3128), (16384, 3542)]


@pytest.mark.parametrize(("tokens", "published"), TABLE)
def test_published_speeds_are_in_the_range(tokens: int, published: float) -> None:
    found = tokens_per_second(dataclasses.replace(QLORA, sequence=tokens), A100, packed=True)
    assert found.low < published < found.high


def test_a_card_a_method_and_padding() -> None:
    qlora = tokens_per_second(QLORA, A100, packed=True)
    lora = tokens_per_second(dataclasses.replace(QLORA, method="lora"), A100, packed=True)
    assert qlora.low < lora.low and qlora.high < lora.high
    assert tokens_per_second(QLORA, RTX, packed=True).high < qlora.high
    padded = tokens_per_second(QLORA, A100, packed=False)
    assert padded.low < qlora.low / 3 and padded.high == qlora.high
    two = tokens_per_second(QLORA, dataclasses.replace(A100, gpus=2), packed=True)
    assert two.low == 2 * qlora.low
    dora = tokens_per_second(dataclasses.replace(QLORA, dora=True), A100, packed=True)
    assert dora.high < qlora.high


def test_an_unknown_card_has_the_widest_range() -> None:
    found = tokens_per_second(QLORA, dataclasses.replace(A100, capability="9.0"), packed=True)
    assert found.high / found.low == pytest.approx(0.66 / 0.29)


def test_the_demo_as_measured() -> None:
    tiny = Architecture(576, 30, 1536, 49152, 9, 3, tied=True)
    job = Job(tiny, "lora", 512, 2, rank=16, checkpointing=False, compute_bytes=4)
    cpu = Hardware("cpu", "none", "cpu", 6, "", 0.1, [])
    found = tokens_per_second(job, cpu, packed=False)
    assert found.low < 150 and found.high > 170


def test_hours() -> None:
    assert hours(3.6e6, Range(500, 1000)) == Range(1.0, 2.0)


def test_what_is_kept_is_not_computed_again() -> None:
    down = dataclasses.replace(QLORA, saved=("down",))
    linear = 4 * 4096 * 4096 + 3 * 4096 * 11008
    assert passes(down) == pytest.approx(3 - 4096 * 11008 / linear)
    assert (
        passes(dataclasses.replace(QLORA, saved=("attention",))) == 3
    )  # beside it, next to nothing
    # Without an adapter beside it nobody asks for the last product again: kept for nothing.
    assert passes(dataclasses.replace(down, targets=("q", "v"))) == 3


def test_a_pass_costs_as_llama_factory_s_table_says() -> None:
    """1,024 to 16,384 tokens a pass; of that, tokens/s of 2,295 to 3,542."""
    short, long = (dataclasses.replace(QLORA, sequence=length) for length in (1024, 16384))
    assert cost(short) / cost(long) == pytest.approx(3542 / 2295, rel=0.08)


H200 = Hardware("h200", "none", "cuda", 139.0, "9.0", 989, [])


@pytest.mark.parametrize("probe", probes.known(Path("nowhere")), ids=lambda one: one.job.method)
def test_a_probe_of_the_card_narrows_the_range(probe: Probe) -> None:
    found = tokens_per_second(probe.job, H200, packed=True, probes=probes.known(Path("nowhere")))
    assert found.high / found.low < 1.5
    assert found.low < probe.tokens_per_s < found.high


def test_another_card_scales_it_with_wider_bounds() -> None:
    known = probes.known(Path("nowhere"))
    new = dataclasses.replace(H200, capability="12.0", tflops=200)
    found = tokens_per_second(QLORA, new, packed=True, probes=known)
    there = tokens_per_second(QLORA, H200, packed=True, probes=known)
    assert 1.5 < found.high / found.low < 0.66 / 0.29
    assert found.low < there.low * 200 / 989 and found.high > there.high * 200 / 989
    # Where runs of the very card were published, these count.
    assert tokens_per_second(QLORA, A100, True, known) == tokens_per_second(QLORA, A100, True)


def test_the_probe_most_like_the_job() -> None:
    known = probes.known(Path("nowhere"))
    small = next(one for one in known if one.job.arch.hidden == 2048)
    assert nearest(small.job, H200, known) is small
    near = nearest(dataclasses.replace(QLORA, method="lora"), H200, known)
    assert near and near.job.arch.hidden == 4096 and near.job.method == "lora"
    assert nearest(QLORA, dataclasses.replace(H200, device="cpu"), known) is None
