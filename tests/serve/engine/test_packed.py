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


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("rows", [1, 5, 64])
@torch.inference_mode()
def test_same_numbers(rows: int, dtype: torch.dtype, apart: float) -> None:
    if dtype == torch.bfloat16 and not packed.computes_bfloat16():
        pytest.skip("this CPU does not multiply bfloat16 by itself: nothing is packed")
    torch.manual_seed(0)
    linear = nn.Linear(72, 130).to(dtype)
    values = torch.randn(1, rows, 72, dtype=dtype)
    assert torch.allclose(PackedLinear(linear)(values), linear(values), atol=apart)


@pytest.mark.parametrize("by_itself", [True, False])
def test_bfloat16_is_packed_where_the_cpu_multiplies_it(
    by_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_itself and not packed.computes_bfloat16():
        pytest.skip("this CPU does not multiply bfloat16 by itself: nothing is packed")
    monkeypatch.setattr(packed, "computes_bfloat16", lambda: by_itself)
    net = Net().to(torch.bfloat16)
    assert pack(net) == (3 if by_itself else 0)


def test_float32_linears_are_packed_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "computes_bfloat16", lambda: False)
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
    monkeypatch.setattr(packed, "computes_bfloat16", lambda: False)
    net = Net()
    assert pack(net) == 0
    assert type(net.first) is nn.Linear
    assert "2 of 2 linear layers could not be packed" in caplog.text


def test_without_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed.torch.ops, "mkldnn", object())
    assert pack(Net()) == 0
