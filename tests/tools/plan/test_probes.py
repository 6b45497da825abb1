"""Measured runs: kept beside the runs, read again, learnt from; a broken file is told."""

import dataclasses
import json
from pathlib import Path

import pytest

from tools.errors import UserError
from tools.plan import probes
from tools.plan.verdict import plan, render
from tools.recipe.compose import RECIPES
from tools.recipe.load import load

(SHIPPED, *_) = probes.known(Path("nowhere"))


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    job = dataclasses.replace(SHIPPED.job, liger=("rms_norm",), saved=("attention",), dropout=False)
    mine = dataclasses.replace(SHIPPED, job=job, card="RTX 4090", capability="8.9", tflops=165.0)
    assert probes.keep(runs, mine) == runs / "probes.json"
    assert probes.known(runs)[-1] == mine and len(probes.known(runs)) == 4
    newer = dataclasses.replace(mine, tokens_per_s=1234.0)
    probes.keep(runs, newer)
    probes.keep(runs, dataclasses.replace(newer, job=SHIPPED.job))
    assert probes.known(runs)[3:] == [newer, dataclasses.replace(newer, job=SHIPPED.job)]


def test_the_next_plan_goes_by_it(tmp_path: Path) -> None:
    recipe = load(RECIPES / "4090.yaml").recipe
    before = plan(recipe, tmp_path)
    mine = probes.Probe("RTX 4090", "8.9", 165.0, before.job, 17.0, 1700.0, {"torch": "2.13"})
    probes.keep(tmp_path, mine)
    after = plan(recipe, tmp_path)
    assert before.speed.high / before.speed.low > 1.9 and after.speed.high / after.speed.low < 1.5
    assert after.speed.low < 1700 < after.speed.high
    assert "as published runs reached" in render(before)
    assert "by a probe of RTX 4090" in render(after)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[1]", '[{"card": "x"}]', json.dumps([{**probes._stored(SHIPPED), "peak_gib": 0}]),
     json.dumps([{**probes._stored(SHIPPED), "more": 1}])],
)  # fmt: skip
def test_a_broken_file_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "probes.json").write_text(content)
    if content == "{}":
        assert len(probes.known(tmp_path)) == 3  # nothing in it
        return
    with pytest.raises(UserError, match=r"probes\.json: not the probes.*mend or remove it"):
        probes.known(tmp_path)


def test_peaks_of_cards_by_their_names() -> None:
    assert probes.tflops("NVIDIA GeForce RTX 4090") == 165
    assert probes.tflops("NVIDIA A100-SXM4-40GB") == 312
    assert probes.tflops("Some other") == 0
