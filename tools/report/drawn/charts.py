"""Charts as inline SVG.

A plot's lines are drawn in a square of 1000 units that the page stretches to its width; strokes and
the labels, which are HTML, keep their size, so that a chart is as readable on a phone.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.report.drawn.html import Child, Html, tag
from tools.report.scale import label, number, ticks

UNITS = 1000.0
_STRETCHED = {"viewBox": f"0 0 {UNITS:g} {UNITS:g}", "preserveAspectRatio": "none"}


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: for the legend.
        points: ``(x, y)`` in order.
        style: class in the style sheet.
        dots: whether each point is marked, where points are few.
    """

    name: str
    points: Sequence[Sequence[float]]
    style: str
    dots: bool = False


@dataclass(frozen=True)
class Segment:
    """One piece of a bar.

    Attributes:
        name: for the legend.
        value: its length, not negative.
        text: the value as it is read.
        style: class in the style sheet.
    """

    name: str
    value: float
    text: str
    style: str


@dataclass(frozen=True)
class _Frame:
    """The range of a plot's axes."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """Units from the left."""
        return UNITS * (value - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)  # a single point

    def down(self, value: float) -> float:
        """Units from the top."""
        return UNITS * (1 - (value - self.y[0]) / (self.y[1] - self.y[0]))


def lines(
    identifier: str,
    title: str,
    series: Sequence[Series],
    x_name: str,
    zero: bool = False,
    keys: Sequence[Series] = (),
) -> Html:
    """Curves over one axis.

    Args:
        identifier: of the figure, unique on the page.
        title: what is shown, with its unit.
        series: the curves; one without points is left out, and at least one has some.
        x_name: what runs along the axis.
        zero: let the upright axis begin at 0, for values whose size counts.
        keys: what the legend lists where curves are too many to be named, their names and styles;
            nothing is read out under the pointer then.
    """
    drawn = [each for each in series if each.points]
    xs, ys = ([point[axis] for each in drawn for point in each.points] for axis in (0, 1))
    marks = ticks(min(0.0, *ys) if zero else min(ys), max(ys))
    frame = _Frame((min(xs), max(xs)), (marks[0], marks[-1]))
    body = [tag("g", _grid(frame, marks), class_="grid"), [_curve(each, frame) for each in drawn]]
    read = {
        "x": [*frame.x, x_name],
        "series": [{"name": each.name, "points": each.points} for each in drawn],
    }
    told = f"{_told(drawn, x_name)}."
    plot = _Plot(frame, marks, body, None if keys else read)
    named = keys or (drawn if len(drawn) > 1 else [])  # the title tells a single one
    return _figure(identifier, title, told, plot, _keys(named), x_name)


def histogram(
    identifier: str, title: str, width: float, counts: Sequence[int], x_name: str
) -> Html:
    """Bars of equal width from 0 on.

    Args:
        identifier: of the figure.
        title: what is counted.
        width: of a bin.
        counts: by bin.
        x_name: what the bins are of.
    """
    marks = ticks(0, max(counts))
    frame = _Frame((0.0, width * len(counts)), (0.0, marks[-1]))
    bars = [
        tag(
            "rect",
            tag("title", f"{width * i:,g} to {width * (i + 1):,g}: {count:,}"),
            x=f"{frame.across(width * i):.1f}",
            y=f"{frame.down(count):.1f}",
            width=f"{UNITS / len(counts):.1f}",
            height=f"{UNITS - frame.down(count):.1f}",
        )
        for i, count in enumerate(counts)
    ]
    body = [tag("g", _grid(frame, marks), class_="grid"), tag("g", bars, class_="bars")]
    top = max(range(len(counts)), key=counts.__getitem__)
    told = (
        f"{len(counts)} bins of {width:,g}; the fullest, from {width * top:,g} to "
        f"{width * (top + 1):,g}, holds {counts[top]:,}."
    )
    return _figure(identifier, title, told, _Plot(frame, marks, body), None, x_name)


def bar(
    identifier: str, title: str, segments: Sequence[Segment], whole: float, legend: bool = True
) -> Html:
    """One bar in pieces, with its values listed below.

    Args:
        identifier: of the figure.
        title: what is shown.
        segments: its pieces, from the left.
        whole: length of the full width, in the pieces' unit; more than 0.
        legend: whether the pieces are listed; else the title must tell them.
    """
    ends = [0.0, *itertools.accumulate(each.value for each in segments)]
    pieces = [
        tag(
            "rect",
            tag("title", f"{each.name}: {each.text}"),
            x=f"{UNITS * start / whole:.2f}",
            y=0,
            width=f"{UNITS * each.value / whole:.2f}",
            height=f"{UNITS:g}",
            class_=each.style,
        )
        for start, each in zip(ends, segments, strict=False)
    ]
    told = "; ".join(f"{each.name} {each.text}" for each in segments)
    picture = drawing(identifier, title, f"{told}.", pieces)
    keys = [
        tag("div", tag("dt", tag("i", class_=f"swatch {s.style}"), s.name), tag("dd", s.text))
        for s in segments
    ]
    listed = tag("dl", keys, class_="legend") if legend else None
    return tag("figure", tag("figcaption", title), picture, listed, id=identifier, class_="bar")


def dumbbell(base: float | None, tuned: float | None) -> Html:
    """Two values between 0 and 1 on a line; for the eye alone, the numbers stand beside it."""
    ends = [UNITS * min(max(value, 0.0), 1.0) for value in (base, tuned) if value is not None]
    joined = tag("path", d=f"M{ends[0]:.0f} 500H{ends[1]:.0f}", class_="link") if ends[1:] else None
    dots = [
        tag("path", d=f"M{UNITS * min(max(value, 0.0), 1.0):.0f} 500h0", class_=f"dot {style}")
        for value, style in ((base, "base"), (tuned, "tuned"))
        if value is not None
    ]
    track = tag("path", d=f"M0 500H{UNITS:g}", class_="track")
    return tag("svg", track, joined, dots, class_="dumbbell", aria_hidden="true", **_STRETCHED)


@dataclass(frozen=True)
class _Plot:
    """What is inside the axes.

    Attributes:
        frame: the range.
        marks: of the y axis.
        body: the drawing.
        read: what the script reads out under the pointer; None for nothing.
    """

    frame: _Frame
    marks: list[float]
    body: Child
    read: object = None


def _figure(identifier: str, title: str, told: str, plot: _Plot, keys: Child, x_name: str) -> Html:
    svg = drawing(identifier, title, told, plot.body)
    area = tag("div", svg, tag("span", class_="cross", hidden=True), class_="area")
    caption = tag("figcaption", tag("span", title), keys, tag("output", class_="read"))
    data = json.dumps(plot.read) if plot.read else None
    body = tag("div", _axes(plot.frame, plot.marks), area, class_="plot", data_chart=data)
    return tag(
        "figure", caption, body, tag("p", x_name, class_="axis"), id=identifier, class_="chart"
    )


def drawing(identifier: str, title: str, told: str, body: Child) -> Html:
    """A stretched picture, with its title and what it shows in words.

    Args:
        identifier: of its figure.
        title: what is shown.
        told: the same in words, for who cannot see it.
        body: the drawing.
    """
    names = f"{identifier}-title", f"{identifier}-told"
    return tag(
        "svg",
        tag("title", title, id=names[0]),
        tag("desc", told, id=names[1]),
        body,
        role="img",
        aria_labelledby=" ".join(names),
        **_STRETCHED,
    )


def _axes(frame: _Frame, marks: list[float]) -> list[Html]:
    """Labels of both axes."""
    step = marks[1] - marks[0]
    rows = [
        tag("span", label(mark, step), style=f"top:{frame.down(mark) / UNITS:.2%}")
        for mark in marks
    ]
    columns = [
        tag("span", text, style=f"left:{frame.across(mark) / UNITS:.2%}")
        for mark, text in _x_marks(frame)
    ]
    return [tag("div", rows, class_="y"), tag("div", columns, class_="x")]


def _x_marks(frame: _Frame) -> Iterator[tuple[float, str]]:
    low, high = frame.x
    found = ticks(low, high)
    for mark in found:
        if low <= mark <= high:
            yield mark, label(mark, found[1] - found[0])


def _grid(frame: _Frame, marks: list[float]) -> list[Html]:
    return [tag("path", d=f"M0 {frame.down(mark):.1f}H{UNITS:g}") for mark in marks]


def _curve(series: Series, frame: _Frame) -> Html:
    places = [f"{frame.across(x):.1f} {frame.down(y):.1f}" for x, y in series.points]
    # h0 is a line of no length, of which the style's round ends make a dot.
    line = tag("path", d="M" + "L".join(places) + ("h0" if len(places) == 1 else ""))
    marks = tag("path", d="".join(f"M{place}h0" for place in places), class_="dots")
    return tag("g", line, marks if series.dots else None, class_=f"curve {series.style}")


def _keys(series: Sequence[Series]) -> list[Html]:
    return [
        tag("span", tag("i", class_=f"key {each.style}"), each.name, class_="keys")
        for each in series
    ]


def _told(series: Sequence[Series], x_name: str) -> str:
    """The curves in words, for who cannot see them."""
    return "; ".join(
        f"{each.name}: {len(each.points)} points, from {_short(each.points[0][1])} at {x_name} "
        f"{each.points[0][0]:g} to {_short(each.points[-1][1])} at {each.points[-1][0]:g}"
        for each in series
    )


def _short(value: float) -> str:
    return number(value) if 0.01 <= abs(value) < 1e6 else f"{value:.3g}"
