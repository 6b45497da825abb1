"""Charts: what is drawn is where its value says, and told in words."""

import json
import re
import xml.etree.ElementTree as ET
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.report.drawn.charts import Segment, Series, bar, dumbbell, histogram, lines

POINTS = st.lists(
    st.tuples(st.integers(0, 10_000), st.floats(-1e6, 1e6)), min_size=1, unique_by=lambda p: p[0]
).map(sorted)


def tree(markup: str) -> ET.Element:
    """Parsed strictly: an attribute without a value is the one thing that XML does not know."""
    return ET.fromstring(markup.replace(" hidden>", ' hidden="">'))


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@given(POINTS)
def test_every_point_is_inside_and_in_order(points: list[tuple[int, float]]) -> None:
    found = tree(lines("c", "Title", [Series("one", points, "main", dots=True)], "step"))
    curve, dots = found.findall(".//g[@class='curve main']/path")
    places = coordinates(curve.attrib["d"])
    assert len(places) == len(points) == dots.attrib["d"].count("M")
    assert all(-0.1 <= x <= 1000.1 and -0.1 <= y <= 1000.1 for x, y in places)
    assert places == sorted(places, key=lambda place: place[0])
    ys = [y for _, y in points]
    highest = min(range(len(points)), key=lambda i: places[i][1])
    assert points[highest][1] == pytest.approx(max(ys), abs=1e-3 * (max(ys) - min(ys)) + 1e-9)


def test_a_curve_is_told_in_words_and_read_out_by_the_script() -> None:
    points = [(5, 2.0), (10, 1.0)]
    made = lines("c", "Loss", [Series("a & b", points, "raw"), Series("none", [], "main")], "step")
    found = tree(made)
    (svg,) = found.iter("svg")
    assert svg.attrib["role"] == "img"
    names = svg.attrib["aria-labelledby"].split()
    assert [found.find(f".//*[@id='{name}']") is not None for name in names] == [True, True]
    assert "a & b: 2 points, from 2.000 at step 5 to 1.000 at 10." in unescape(made)
    data = json.loads(found.find(".//div[@class='plot']").attrib["data-chart"])  # type: ignore[union-attr]
    assert data["series"] == [{"name": "a & b", "points": [[5, 2.0], [10, 1.0]]}]


def test_many_curves_have_a_legend_of_their_styles() -> None:
    curves = [Series(f"n{at}", [(0, at), (1, at + 1)], "raw") for at in range(3)]
    found = tree(lines("c", "Title", curves, "step", keys=[Series("others", [], "raw")]))
    assert len(found.findall(".//g[@class='curve raw']")) == 3
    assert [one.attrib["class"] for one in found.findall(".//figcaption/span/i")] == ["key raw"]
    assert "data-chart" not in found.find(".//div[@class='plot']").attrib  # type: ignore[union-attr]


def test_bars_of_a_histogram() -> None:
    found = tree(histogram("h", "Rows", 10, [0, 4, 2], "tokens"))
    rects = list(found.iter("rect"))
    heights = [float(rect.attrib["height"]) for rect in rects]
    assert heights[0] == 0 and heights[1] == 2 * heights[2] > 0
    assert "the fullest, from 10 to 20, holds 4" in "".join(found.itertext())


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 1e7))
def test_pieces_follow_each_other(values: list[float], more: float) -> None:
    whole = sum(values) + more
    pieces = [Segment(f"n{i}", value, str(value), "s1") for i, value in enumerate(values)]
    at = 0.0
    for rect in tree(bar("b", "Bar", pieces, whole)).iter("rect"):
        assert float(rect.attrib["x"]) == pytest.approx(at, abs=0.02 * (len(values) + 1))
        at += float(rect.attrib["width"])
    assert at == pytest.approx(1000 * sum(values) / whole, abs=0.02 * (len(values) + 1))


@pytest.mark.parametrize("base, tuned, dots", [(0.2, 0.8, 2), (None, 0.5, 1), (None, None, 0)])
def test_a_dumbbell_has_a_dot_a_value(base: float | None, tuned: float | None, dots: int) -> None:
    made = dumbbell(base, tuned)
    assert made.count('class="dot') == dots and made.count("link") == (dots == 2)
