"""Parallel coordinates: lines are where their values say."""

import re
import xml.etree.ElementTree as ET

from tools.report.drawn.parallel import Lane, Thread, parallel

LANES = [Lane("a", [(0, "1"), (1, "9")]), Lane("b & c", [(0.5, "<x>")])]


def drawn(*threads: Thread) -> ET.Element:
    return ET.fromstring(parallel("p", "Title", LANES, threads, "In words."))


def test_a_line_goes_through_its_place_on_each_axis() -> None:
    found = drawn(Thread("one", [0.0, 1.0], "main"), Thread("two", [0.25, 0.5], "raw"))
    first, second = (found.find(f".//g[@class='curve {style}']/path") for style in ("main", "raw"))
    assert first is not None and first.attrib["d"] == "M250.0 1000.0L750.0 0.0"
    assert second is not None and second.attrib["d"] == "M250.0 750.0L750.0 500.0"
    axes = found.findall(".//g[@class='grid']/path")
    assert [axis.attrib["d"] for axis in axes] == ["M250.0 0V1000", "M750.0 0V1000"]


def test_a_place_that_is_missing_breaks_the_line() -> None:
    (line,) = drawn(Thread("one", [None, 0.5], "raw")).findall(".//g[@class='curve raw']/path")
    assert line.attrib["d"] == "M750.0 500.0"
    (line,) = drawn(Thread("one", [None, None], "raw")).findall(".//g[@class='curve raw']/path")
    assert "d" not in line.attrib


def test_axes_are_labelled_and_the_picture_is_told_in_words() -> None:
    found = drawn()
    (svg,) = found.iter("svg")
    names = svg.attrib["aria-labelledby"].split()
    texts = ["".join(found.find(f".//*[@id='{name}']").itertext()) for name in names]  # type: ignore[union-attr]
    assert texts == ["Title", "In words."]
    labels = {one.text: one.attrib["style"] for one in found.findall(".//div[@class='area']/span")}
    assert labels["9"] == "left:25.00%;top:0.00%" and labels["<x>"] == "left:75.00%;top:50.00%"
    assert re.findall(r"a|b & c", "".join(found.find(".//p").itertext())) == ["a", "b & c"]  # type: ignore[union-attr]
