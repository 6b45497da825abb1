"""The smallest difference that is told from noise: published figures, and by trying."""

import random
import re
from pathlib import Path

import pytest

from tools.score.detectable import said, smallest
from tools.score.difference import paired


def test_as_connor_has_it() -> None:
    """n = (1.96 sqrt(c) + 0.84 sqrt(c - d²))² / d²: c = 0.3, d = 0.1 gives 233.5."""
    found = smallest([234])
    assert found == pytest.approx(0.1, abs=2e-4)


def test_more_questions_show_smaller_differences() -> None:
    found = [smallest([count]) for count in (6, 10, 50, 100, 1000, 10_000)]
    assert all(one is not None for one in found)
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]
    assert found[-1] == pytest.approx(2.8 * (0.3 / 10_000) ** 0.5, rel=0.01)


def test_run_specs_of_as_many_questions_are_as_good_as_one() -> None:
    assert smallest([50] * 4) == pytest.approx(smallest([200]))
    uneven, even = smallest([10, 390]), smallest([200, 200])
    assert uneven and even and uneven > even, "the small one's noise is half of the mean's"


@pytest.mark.parametrize("counts", [[], [0], [5], [2, 0], [100, 0]])
def test_too_few(counts: list[int]) -> None:
    assert smallest(counts) is None
    assert said(counts) == "too few questions to tell any difference from noise"


def test_a_difference_beyond_the_share_needs_as_many_that_change_hands() -> None:
    found = smallest([8])
    assert found and 0.3 < found < 1
    assert said([234]) == "differences of 0.100 and more can be told from noise"


def test_the_verdict_finds_it_four_times_in_five() -> None:
    """Right and wrong answers of which three in ten change hands, the difference just so large."""
    count, rng, found = 234, random.Random(1), 0
    gain = smallest([count]) or 0.0
    up = (0.3 + gain) / 2
    for _ in range(300):
        draws = [rng.random() for _ in range(count)]
        pairs = [(float(up <= d < 0.3), float(d < up)) for d in draws]
        made = paired({"a": pairs})
        found += bool(made and made.clear)
    assert found / 300 == pytest.approx(0.8, abs=0.07)


def test_the_table_of_the_documentation() -> None:
    text = Path("docs/evaluation.md").read_text(encoding="utf-8")
    (counts,) = re.findall(r"^\| questions \| (.*) \|$", text, re.MULTILINE)
    (told,) = re.findall(r"^\| difference \| (.*) \|$", text, re.MULTILINE)
    asked = [int(one.replace(",", "")) for one in counts.split(" | ")]
    assert told.split(" | ") == [f"{smallest([count]):.3f}" for count in asked]
