"""Packed linears compute what nn.Linear computes, or stay away."""

from typing import Any

import pytest
import torch
from torch import nn

from serve.engine import packed
from serve.engine.packed import PackedLinear, pack


class Net(nn.Module):
    """Linears of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(48, 33)
        self.inner = nn.ModuleList([nn.Linear(33, 64, bias=False)])
        self.brief = nn.Linear(64, 8).to(torch.bfloat16)

    def forward(self, rows: torch.Tensor) -> Any:
        return self.brief(self.inner[0](self.first(rows)).to(torch.bfloat16))


@pytest.mark.parametrize("rows", [1, 5, 64])
@torch.inference_mode()
def test_same_numbers(rows: int) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(72, 130)
    values = torch.randn(1, rows, 72)
    assert torch.allclose(PackedLinear(linear)(values), linear(values), atol=1e-5)


def test_float32_linears_are_packed_wherever_they_are() -> None:
    net = Net()
    assert pack(net) == 2
    assert isinstance(net.first, PackedLinear)
    assert isinstance(net.inner[0], PackedLinear)
    assert type(net.brief) is nn.Linear
    assert net(torch.randn(1, 3, 48)).shape == (1, 3, 8)


def wrong(self: Any, rows: torch.Tensor) -> torch.Tensor:
    return torch.zeros(*rows.shape[:-1], self.out_features)


def failing(self: Any, rows: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no such operator here")


@pytest.mark.parametrize("forward", [wrong, failing])
def test_a_layer_that_comes_out_different_stays(
    forward: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packed.PackedLinear, "forward", forward)
    net = Net()
    assert pack(net) == 0
    assert type(net.first) is nn.Linear
    assert "2 of 2 linear layers could not be packed" in caplog.text


def test_without_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed.torch.ops, "mkldnn", object())
    assert pack(Net()) == 0
