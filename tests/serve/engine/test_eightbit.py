"""Layers of 8 bits: nearly nn.Linear, the same alone and in company; or they stay away."""

from typing import Any

import pytest
import torch
from torch import nn

from serve.engine import eightbit
from serve.engine.eightbit import EightBitLinear, Rounding, to_eight_bits

WIDTHS = [(48, 33), (64, 8), (72, 130), (576, 192), (33, 1), (7, 5), (2, 3)]


@pytest.mark.parametrize(("wide", "out"), WIDTHS)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_nearly_the_same_numbers_of_any_width(wide: int, out: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(wide, out, bias=bias)
    made = EightBitLinear(linear, Rounding())
    for rows in (1, 3, 40):
        values = torch.randn(1, rows, wide)
        found = made(values)
        assert found.shape == (1, rows, out) and found.dtype == torch.float32
        # Weights are half a step off at most, activations half of what is left of them.
        unit = values.abs().amax(-1, keepdim=True) / 127 / 254
        scale = linear.weight.abs().amax(1) / 127
        most = values.abs().sum(-1, keepdim=True) * scale / 2 + linear.weight.abs().sum(1) * unit
        assert ((found - linear(values)).abs() <= most + 1e-6).all()


@torch.inference_mode()
def test_they_are_those_of_the_rounded_factors() -> None:
    """Not of anything else: the weights' rounding is all that is lost."""
    torch.manual_seed(1)
    linear, values = nn.Linear(100, 30, bias=False), torch.randn(1, 6, 100) * 9
    scale = linear.weight.abs().amax(1) / 127
    weight = (linear.weight / scale[:, None]).round() * scale[:, None]
    expected = nn.functional.linear(values, weight)
    made = EightBitLinear(linear, Rounding())(values)
    assert float((made - expected).norm() / expected.norm()) < 1e-4


@torch.inference_mode()
def test_a_row_is_the_same_to_the_last_bit_beside_any_others() -> None:
    torch.manual_seed(2)
    made, values = EightBitLinear(nn.Linear(576, 300), Rounding()), torch.randn(1, 130, 576)
    values[:, 60] *= 1e4  # a scale that all rows shared would round the others to nothing
    together = made(values)
    for rows in (1, 2, 5, 16, 64):
        for start in range(0, 130 - rows, 17):
            part = values[:, start : start + rows].clone()
            assert torch.equal(made(part), together[:, start : start + rows])


@torch.inference_mode()
def test_what_is_no_number_spoils_its_own_row_alone() -> None:
    made, values = EightBitLinear(nn.Linear(32, 8), Rounding()), torch.ones(1, 4, 32)
    values[0, 1, 5], values[0, 2, 5] = torch.nan, torch.inf
    found = made(values)[0]
    assert not found[1].isfinite().any() and not found[2].isfinite().any()
    assert found[[0, 3]].isfinite().all()
    assert EightBitLinear(nn.Linear(32, 8, bias=False), Rounding())(values * 0)[0, 0].eq(0).all()


@torch.inference_mode()
def test_rows_are_rounded_once_for_layers_that_share_them() -> None:
    rounding, values = Rounding(), torch.randn(1, 2, 16)
    whole, unit = rounding(values)
    assert rounding(values)[0] is whole and rounding(values)[1] is unit
    other, _ = rounding(values.clone())
    assert other is not whole and torch.equal(other, whole)


class Net(nn.Module):
    """Linears of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(48, 33)
        self.inner = nn.ModuleList([nn.Linear(33, 64, bias=False)])
        self.brief = nn.Linear(64, 8).to(torch.bfloat16)


def test_a_layer_of_one_input_stays() -> None:
    """torch 2.13 answers anything for it."""
    assert to_eight_bits(nn.ModuleList([nn.Linear(1, 3), nn.Linear(2, 3)])) == 1


def test_float32_linears_are_exchanged_wherever_they_are() -> None:
    net = Net()
    assert to_eight_bits(net) == 2
    assert isinstance(net.first, EightBitLinear) and isinstance(net.inner[0], EightBitLinear)
    assert type(net.brief) is nn.Linear


def wrong(self: Any, rows: torch.Tensor) -> torch.Tensor:
    return torch.zeros(*rows.shape[:-1], self.out_features)


def failing(self: Any, rows: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no such operator here")


@pytest.mark.parametrize("forward", [wrong, failing])
def test_a_layer_that_comes_out_otherwise_stays(
    forward: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(eightbit.EightBitLinear, "forward", forward)
    net = Net()
    assert to_eight_bits(net) == 0
    assert type(net.first) is nn.Linear
    assert "2 of 2 linear layers could not be packed" in caplog.text


def test_without_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(eightbit.torch, "_int_mm")
    assert to_eight_bits(Net()) == 0
