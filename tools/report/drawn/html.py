"""HTML from Python values. Every text is escaped here and nowhere else."""

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset(("br", "col", "hr", "img", "input", "link", "meta", "wbr"))


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def tag(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element.

    Args:
        name: of the element.
        children: markup, texts (which are escaped), or lists of them; None is left out.
        attributes: ``class_`` and ``data_x`` for what Python cannot spell; True is an attribute
            without a value, None and False are none.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(children)}</{name}>")


def join(child: Child) -> Html:
    """Markup of a child, or of a list of them."""
    if child is None:
        return Html("")
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int | float):
        return Html(escape(str(child)))
    return Html("".join(join(each) for each in child))


def _attribute(key: str, value: str | int | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def table(
    heads: Iterable[Child],
    rows: Iterable[Iterable[Child]],
    label: str,
    *,
    words: int = 1,
    head: int = 0,
    sortable: bool = False,
) -> Html:
    """A table that scrolls within itself where the page is narrow, and says so there.

    Args:
        heads: of the columns.
        rows: cells.
        label: what the table shows, for who cannot see it.
        words: how many columns from the left hold words; the others hold numbers.
        head: which cell of a row is its head.
        sortable: whether a script may sort it.
    """
    body = [_row(row, words, head) for row in rows]
    top = tag(
        "tr", [tag("th", h, scope="col", class_=_kind(i, words)) for i, h in enumerate(heads)]
    )
    inner = tag(
        "table",
        tag("caption", label, class_="unseen"),
        tag("thead", top),
        tag("tbody", body),
        class_="sortable" if sortable else None,
    )
    # The script shows it where columns are out of sight; a shadow at the edge says so without it.
    more = tag("p", "more columns →", class_="more", aria_hidden="true", hidden=True)
    within = tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)
    return tag("div", more, within, class_="wide")


def _row(cells: Iterable[Child], words: int, head: int) -> Html:
    shown = [
        tag("th", cell, scope="row", class_=_kind(i, words))
        if i == head
        else tag("td", cell, class_=_kind(i, words))
        for i, cell in enumerate(cells)
    ]
    return tag("tr", shown)


def _kind(column: int, words: int) -> str | None:
    return None if column < words else "number"


def fold(summary: Child, *children: Child, class_: str | None = None) -> Html:
    """Something that is opened to be read."""
    return tag("details", tag("summary", summary), *children, class_=class_)


def facts(pairs: Iterable[tuple[Child, Child]], class_: str = "facts") -> Html:
    """Names and values."""
    return tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in pairs], class_=class_)


def breakable(name: str) -> Html:
    """A long name that a narrow column may break where its words end."""
    return Html(re.sub("([_,:])(?=.)", r"\1<wbr>", escape(name)))


def text(value: str | None, nothing: str = "nothing") -> Html:
    """A text as it is, its spaces and lines kept."""
    if not value:
        return tag("span", nothing, class_="soft")
    return tag("span", value, class_="verbatim")
