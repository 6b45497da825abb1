"""What the gate makes of two models' answers: figures, intervals, limits."""

import dataclasses
import math
from typing import Any

import pytest

from tools.recipe.schema import Quantize
from tools.stages import gate
from tools.stages.divergence import Apart, Told

WANTED = Quantize("nf4", 1.05, 64)
FINE = {
    "merged_perplexity": 2.0, "quantized_perplexity": 2.02, "perplexity_ratio": 1.01,
    "perplexity_ratio_interval": [1.0, 1.02], "perplexity_rows": 8, "kl": 0.01,
    "kl_interval": [0.005, 0.02], "top1": 0.97, "top1_interval": [0.95, 0.99],
    "compared_tokens": 100,
}  # fmt: skip
TIER = {
    "tier": "quick", "merged": 0.6, "quantized": 0.5, "drop": 0.1, "drop_interval": [0.02, 0.18],
    "questions": 90, "run_specs": 9, "failed": {},
}  # fmt: skip


def test_figures_by_hand() -> None:
    told = [Told(2.0, 2, [1, 1]), Told(6.0, 2, [1, 1])]
    apart = [Apart(2.2, 0.2, 2, 2), Apart(6.2, 0.6, 1, 2)]
    found = gate.figures(told, apart)
    assert found["merged_perplexity"] == pytest.approx(math.exp(2))
    assert found["perplexity_ratio"] == pytest.approx(math.exp(0.1))
    # Both rows lose 0.1 a token: no draw of them says otherwise.
    assert found["perplexity_ratio_interval"] == pytest.approx([math.exp(0.1)] * 2)
    assert found["kl"] == pytest.approx(0.2) and found["top1"] == 0.75
    assert found["kl_interval"] == pytest.approx([0.1, 0.3])
    assert found["top1_interval"] == [0.5, 1.0] and found["compared_tokens"] == 4
    assert found["perplexity_rows"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"perplexity_ratio": 1.06}, "ratio 1.0600, more than quantize.max_perplexity_ratio = 1."),
        ({"perplexity_ratio": math.nan}, "ratio nan"),
        ({"kl": 0.21}, "off by a KL of 0.2100 nats, more than quantize.max_kl = 0.2"),
        ({"kl": math.nan}, "KL of nan"),
        ({"kl": math.inf}, "KL of inf"),
        ({"top1": 0.49}, "at 49.0% of the places, less than quantize.min_top1 = 0.5"),
        ({"top1": math.nan}, "at nan% of the places"),
    ],
)
def test_each_limit(change: dict[str, float], said: str) -> None:
    assert gate.beyond(FINE, WANTED) == []
    (fault,) = gate.beyond({**FINE, **change}, WANTED)
    assert said in fault


def test_all_that_is_beyond_is_told_at_once() -> None:
    assert len(gate.beyond({**FINE, "perplexity_ratio": 2.0, "kl": 1.0, "top1": 0.1}, WANTED)) == 3


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, 1),
        ({"drop": 0.03, "drop_interval": [0.01, 0.05]}, 0),  # the limit itself may be lost
        ({"drop_interval": [-0.01, 0.2]}, 0),  # chance may do it
        ({"drop_interval": [0.0, 0.2]}, 0),
        ({"drop": -0.1, "drop_interval": [-0.2, -0.01]}, 0),  # it has won
    ],
)
def test_a_score_is_lost_where_it_is_more_than_chance(change: dict[str, Any], faults: int) -> None:
    found = gate.lost({**TIER, **change}, WANTED)
    assert len(found) == faults
    if found:
        assert "quick fell from 0.600 to 0.500, by 0.1000 (0.0200 to 0.1800)" in found[0]


def test_a_loss_that_may_be_chance_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    gate.tell_tier({**TIER, "drop_interval": [-0.01, 0.2], "failed": {"a": "b"}}, WANTED)
    told = capsys.readouterr().out + capsys.readouterr().err
    assert "1 run specs failed; that is more, but chance alone may do it" in told


def test_the_limits_that_held_are_recorded() -> None:
    assert gate.limits(dataclasses.replace(WANTED, max_kl=0.5)) == {
        "max_perplexity_ratio": 1.05, "max_kl": 0.5, "min_top1": 0.5, "max_score_drop": 0.03,
    }  # fmt: skip
