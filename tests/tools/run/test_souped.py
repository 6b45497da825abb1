"""What of a run's stages depends on a soup: nothing, where a recipe has none."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import recipe
from tools.recipe.schema import Axis, Soup, Sweep
from tools.run.exports import exported
from tools.run.folder import SOUP, STAGES, SWEEP, Run

SEARCHED = Sweep({"train.lora_r": Axis(values=[8, 16])})


def touched(before: Any, after: Any, tmp_path: Path) -> set[str]:
    one, other = Run(recipe(**before), tmp_path), Run(recipe(**after), tmp_path)
    return {name for name in STAGES if one.fingerprint(name) != other.fingerprint(name)}


BEHIND = {SOUP, "merge", "quantize", "eval_tuned"}


@pytest.mark.parametrize(
    ("before", "after", "stages"),
    [
        (None, Soup(adapters={"x": "a"}), BEHIND),
        (Soup(adapters={"x": "a"}), Soup(adapters={"x": "b"}), BEHIND),
        (Soup(checkpoints=2), Soup(checkpoints=2, min_gain=0.1), BEHIND),
        (Soup(), Soup(checkpoints=2), BEHIND | {"train"}),
        (Soup(checkpoints=3), Soup(checkpoints=2), BEHIND | {"train"}),
        (Soup(), Soup(trials=2), BEHIND | {SWEEP}),
    ],
)
def test_an_edit_touches_the_right_stages(
    before: Soup | None, after: Soup, stages: set[str], tmp_path: Path
) -> None:
    exports = {name for name in STAGES if exported(name)}
    found = touched(
        {"soup": before, "sweep": SEARCHED}, {"soup": after, "sweep": SEARCHED}, tmp_path
    )
    assert found - exports == stages


def test_the_merge_reads_it_and_it_reads_the_sweep(tmp_path: Path) -> None:
    plain = Run(recipe(), tmp_path).inputs("merge")
    assert plain["upstream"].keys() == {"train"}
    run = Run(recipe(soup=Soup(trials=1), sweep=SEARCHED), tmp_path)
    assert run.inputs("merge")["upstream"].keys() == {"train", SOUP}
    assert run.inputs(SOUP)["upstream"].keys() == {"train", SWEEP}
    assert run.inputs("train").keys() == Run(recipe(), tmp_path).inputs("train").keys()


def test_an_edited_adapter_makes_another_soup(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    section = Soup(adapters={"x": str(folder)})
    before = Run(recipe(soup=section), tmp_path)
    assert before.inputs(SOUP)["files"] == {"x": "absent"}
    folder.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / name).write_text("{}")
    after = Run(recipe(soup=section), tmp_path)
    assert before.fingerprint(SOUP) != after.fingerprint(SOUP)
