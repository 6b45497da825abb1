"""Models with an encoder, merged and packed: two families here, all by the command."""

from pathlib import Path

import pytest

from tests import kin
from tests.family_matrix import FORMATS, LAYERS, LIMIT, WEIGHTS, cell, main
from tests.merge_matrix import both
from tests.tools.recipe.test_stacks import FILES

HERE = ("t5-v1_1", "albert")


@pytest.mark.parametrize("column", WEIGHTS)
@pytest.mark.parametrize("family", HERE)
def test_the_matrix(family: str, column: str, tmp_path: Path) -> None:
    said, fault = cell(family, column, tmp_path)
    assert not fault
    assert float(said.split()[0]) < (1e-30 if column in FORMATS else LIMIT)


def test_lora_sits_where_the_recipes_put_it() -> None:
    shipped = {frozenset(one["train"]["lora_target_modules"]) for one in FILES.values()}
    assert {frozenset(names) for names in LAYERS.values()} == shipped
    assert LAYERS.keys() == set(kin.FAMILIES)


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["bert"], ["lora"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[:2] == ["bert", "(WordPiece)"] and float(line[2]) < LIMIT
    monkeypatch.setattr("tests.family_matrix.LIMIT", 0.0)
    assert main(["bert"], ["lora"]) == 1
    assert "bert, lora: logits are" in capsys.readouterr().out


def test_the_merge_matrix_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Ways that are of causal families only are named, not left out without a word."""
    assert both(["bert"], ["lora", "qlora"]) == 0
    printed = capsys.readouterr().out
    assert "of causal families only: qlora" in printed and "all 1 as they should be" in printed
