"""The benchmark of verdicts: it hears Axolotl's yes and no, and its table is right."""

from pathlib import Path

import pytest

from benchmarks import check
from tools.recipe.compose import RECIPES
from tools.recipe.load import load


def test_table() -> None:
    seconds = {"make check": [0.5, 0.4, 9.0], check.THEIRS: [10.0, 11.0, 9.0]}
    lines = check.table(seconds).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:4]] == ["make check", "0.50", "20.0"]
    assert [cell.strip() for cell in lines[3].split("|")[1:4]] == [check.THEIRS, "10.00", ""]


@pytest.mark.parametrize(("override", "verdict"), [("", "accepted"), ("adapter: sora", "refused")])
def test_axolotls_verdict(override: str, verdict: str, tmp_path: Path) -> None:
    config = check.rendered(load(RECIPES / "cpu.yaml").recipe, tmp_path)
    text = config.read_text().replace("adapter: lora", override or "adapter: lora")
    assert text.count("adapter: ") == 1
    config.write_text(text)
    taken, said = check.theirs(config)
    assert said == verdict and taken > 0


def test_ours_do_not_import_torch() -> None:
    assert not check.imports_torch("plan", RECIPES / "cpu.yaml")
