"""Parallel coordinates: an upright axis a value, a line across them for each of several things."""

from collections.abc import Sequence
from dataclasses import dataclass

from tools.report.drawn.charts import UNITS, drawing
from tools.report.drawn.html import Html, tag


@dataclass(frozen=True)
class Lane:
    """One upright axis.

    Attributes:
        name: below it.
        marks: place, from 0 at the bottom to 1 at the top, and text of what is written at it.
    """

    name: str
    marks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Thread:
    """One line across all axes.

    Attributes:
        name: as it is told.
        places: on each axis, from 0 to 1; None where it has none.
        style: class in the style sheet.
    """

    name: str
    places: Sequence[float | None]
    style: str


def parallel(
    identifier: str, title: str, lanes: Sequence[Lane], threads: Sequence[Thread], told: str
) -> Html:
    """The figure.

    Args:
        identifier: of the figure, unique on the page.
        title: what is shown.
        lanes: the axes, from the left; at least one.
        threads: the lines, those behind first.
        told: the same in words.
    """
    across = [(at + 0.5) / len(lanes) for at in range(len(lanes))]
    axes = [tag("path", d=f"M{UNITS * x:.1f} 0V{UNITS:g}") for x in across]
    body = [tag("g", axes, class_="grid"), [_thread(one, across) for one in threads]]
    labels = [
        tag("span", text, style=f"left:{x:.2%};top:{1 - place:.2%}")
        for x, lane in zip(across, lanes, strict=True)
        for place, text in lane.marks
    ]
    names = [tag("span", lane.name, style=f"width:{1 / len(lanes):.2%}") for lane in lanes]
    area = tag("div", drawing(identifier, title, told, body), labels, class_="area")
    inner = tag("div", area, tag("p", names, class_="names"), class_="lanes")
    return tag("figure", tag("figcaption", tag("span", title)), inner, id=identifier)


def _thread(thread: Thread, across: Sequence[float]) -> Html:
    """Its pieces; where a place is missing the line is broken."""
    pieces, pen = [], "M"
    for x, place in zip(across, thread.places, strict=True):
        if place is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{UNITS * x:.1f} {UNITS * (1 - place):.1f}")
        pen = "L"
    line = tag("path", tag("title", thread.name), d="".join(pieces) or None)
    return tag("g", line, class_=f"curve {thread.style}")
