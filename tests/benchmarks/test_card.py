"""The script for a card: its pure parts, and what it says where there is none."""

import itertools
from pathlib import Path

import pytest
import torch

from benchmarks import card
from tools.axolotl import packed_attention as packed
from tools.plan import probe
from tools.plan.verdict import GIB, Plan, plan
from tools.recipe.load import load


def test_without_a_card(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert card.main([]) == 2
    assert "no NVIDIA card here" in capsys.readouterr().out


@pytest.mark.parametrize(("length", "mean"), [(8192, 150), (8192, 2048), (100, 8)])
def test_packs_are_full_of_whole_documents(length: int, mean: int) -> None:
    found = card.positions(length, mean)
    assert len(found) == length and found[0] == 0
    assert all(after in (before + 1, 0) for before, after in itertools.pairwise(found))
    documents = found.count(0)
    assert length / documents == pytest.approx(mean, rel=0.5)


@pytest.mark.parametrize("window", [0, 16])
def test_the_kinds_compute_the_same(window: int) -> None:
    """Those that run here: the mask, and one call a document."""
    where = torch.tensor(card.positions(64, 12))
    torch.manual_seed(0)
    query, key, value = (torch.randn(64, heads, 8) for heads in (4, 2, 2))
    documents = packed.Documents(where[None])
    plain = packed._one_by_one(query, key, value, documents, None, window or None, 0.0)
    assert torch.allclose(plain, card.masked(query, key, value, where, window), atol=1e-5)


def test_another_card_s_share_of_memory() -> None:
    assert card.fraction(23.5, 141 * GIB) == pytest.approx(1 / 6)
    assert card.fraction(23.5, 16 * GIB) == 1.0


def planned(name: str, *more: str) -> Plan:
    words = [*card.overrides(Path("base")), *more]
    return plan(load(Path(f"recipes/{name}.yaml"), words).recipe, Path("nowhere"))


def test_the_recipes_take_the_random_model() -> None:
    for name in card.CARDS:
        recipe = planned(name).recipe
        assert recipe.model.path == "base" and recipe.model.source == "local"
        assert recipe.model.arch and recipe.model.arch.hidden == 4096


def trial(name: str, settings: str, gib: float, speed: float) -> probe.Trial:
    found = planned(name, *([settings] if settings else []))
    measured = probe.Measured(gib * GIB, speed) if speed else None
    return probe.Trial({}, settings, found, measured)


def test_the_table_and_the_targets() -> None:
    proposed = "train.gradient_checkpointing=false train.micro_batch_size=1"
    made = [trial("a100", "", 26.9, 8000.0), trial("a100", proposed, 30.0, 12000.0)]
    text, met = card.table(made[0].plan, made, 989.0)
    assert "a100 as shipped" in text and proposed in text and "1.50" in text
    assert met[0] == "proposed / shipped: 1.50, target 1.35: met"
    assert "share of the bf16 peak: 34.5%, target 34.8%: NOT MET" in met[1]
    assert met[2].endswith(": met")


def test_what_failed_is_in_the_table() -> None:
    made = [trial("4090", "", 20.0, 1500.0), trial("4090", "train.lora_dropout=0", 0, 0)]
    text, met = card.table(made[0].plan, made, 165.0)
    assert "failed" in text and met == ["proposed: not measured"]
    alone, none = card.table(made[0].plan, made[:1], 165.0)
    assert "1,500" in alone and none == ["proposed: not measured"]


def test_the_table_of_attention() -> None:
    text = card.show_attention([card.Row("mask", 150, 0, 12.34, 1.5, 0.002)])
    assert "| mask " in text and "none" in text and "12.3" in text
