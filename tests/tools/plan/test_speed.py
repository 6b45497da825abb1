"""Speed: the arithmetic, and ranges that hold what was published and measured."""

import dataclasses

import pytest

from tools.plan.memory import Job
from tools.plan.speed import Range, flops_per_token, hours, tokens_per_second
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


@pytest.mark.parametrize("published", [2295, 2415, 2741, 2926, 3128, 3542])
def test_published_speeds_are_in_the_range(published: float) -> None:
    found = tokens_per_second(QLORA, A100, packed=True)
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
