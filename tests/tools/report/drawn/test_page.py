"""The page: one file that needs no other, whole whatever is missing, and no prompt runs on it."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.tools.report.conftest import HOSTILE, build
from tools.report.drawn.page import SECTIONS, render
from tools.report.gathered.gather import PARTS, gather
from tools.report.gathered.source import Source
from tools.report.write import report
from tools.run.folder import Run

HERE = Path(__file__).resolve().parents[4] / "tools" / "report" / "drawn"
FETCHED = {"src", "srcset", "action", "poster", "data", "background", "formaction", "xlink:href"}


class Page(HTMLParser):
    """Elements, attributes, ids and texts of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "link", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def markup(whole: Run) -> str:
    return report(whole, options=" HW=tiny").read_text(encoding="utf-8")


def test_every_part_has_its_section_and_every_element_its_end(markup: str) -> None:
    page = Page(markup)
    assert not page.open and {name for name, _, _ in SECTIONS} == set(PARTS)
    assert len(page.ids) == len(set(page.ids)), "an id stands twice"
    charts = {f"chart-{name}" for name in "loss rate speed day predicted measured lengths".split()}
    absent = {"versus", "sweep"}  # no other run, no sweep
    assert {*PARTS, *charts} - absent <= set(page.ids) and absent.isdisjoint(page.ids)
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert all(link and link.lstrip("#") in page.ids for link in links)


def test_nothing_is_fetched(markup: str) -> None:
    page = Page(markup)
    assert not [found for found in page.attributes if found[1] in FETCHED]
    links = [value for tag, name, value in page.attributes if (tag, name) == ("link", "href")]
    assert links == ["data:,"]
    style = (HERE / "report.css").read_text()
    assert "url(" not in style and "@import" not in style
    assert "fetch" not in (HERE / "report.js").read_text()


def test_a_prompt_that_is_markup_stays_a_text(markup: str) -> None:
    page = Page(markup)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert not [found for found in page.attributes if found[1].startswith("on")]
    assert HOSTILE in page.text and "<b>few_shot</b>" in page.text


def test_no_script_but_ours_may_run(markup: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", markup, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in markup and "default-src 'none'" in markup


def test_the_figures_are_there(markup: str) -> None:
    text = " ".join(Page(markup).text.split())
    for told in (
        "60 steps. The loss went from 1.340 to 0.390",
        "0:05:30 of 24:00:00 used",
        "Memory of a card: not measured",
        "1 of 8 wrong",
        "1 found in training rows",
        "Current: whole, and what the recipe asks for now.",
    ):
        assert told in text, told


def test_a_page_of_nothing_but_rows_says_what_makes_the_rest(whole: Run) -> None:
    found = gather(Source(whole), " HW=tiny")
    found["parts"] = {
        name: {"missing": f"no {name} yet", "command": f"make {name} HW=tiny"} for name in PARTS
    }
    found["checks"] = {}
    page = Page(render(found))
    for name in PARTS:
        assert f"No {name} yet." in page.text and f"make {name} HW=tiny" in page.text


def test_a_part_that_cannot_be_shown_breaks_no_other(whole: Run) -> None:
    found = gather(Source(whole))
    found["parts"]["contamination"]["scenarios"] = [{"scenario": "gsm"}]
    page = Page(render(found))
    assert "Cannot be shown (KeyError" in page.text and "The loss went from" in page.text


def test_before_an_evaluation(tmp_path: Path) -> None:
    run = build(tmp_path)
    shutil.rmtree(run.path / "eval")
    page = Page(report(run, options=" HW=cpu").read_text())
    assert "Nothing was evaluated yet." in page.text and "make eval HW=cpu" in page.text
    assert "Not checked" in page.text and "The loss went from" in page.text


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_can_be_read(theme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (HERE / "report.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[theme]))
    for ground in ("paper", "panel"):
        for text in ("ink", "soft", "accent"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["grey"], colours["paper"]) >= 3  # lines and dots, WCAG 1.4.11


def test_report_json_holds_what_the_page_shows(whole: Run) -> None:
    report(whole)
    stored = json.loads((whole.path / "report.json").read_text())
    assert render(stored) == (whole.path / "report.html").read_text()


def test_each_source_has_its_lengths_and_its_share(whole: Run) -> None:
    found = gather(Source(whole))
    (one,) = found["parts"]["data"]["sources"]
    assert "chart-lengths-1" not in Page(render(found)).ids  # the one of all rows is its own
    other = {**one, "name": f"other {HOSTILE}", "learnt_share": 0.5}
    found["parts"]["data"]["sources"] = [one, other]
    page = Page(render(found))
    assert {"chart-lengths", "chart-lengths-1", "chart-lengths-2"} <= set(page.ids)
    assert f"other {HOSTILE}: 30 rows, 50 % of their tokens learnt" in page.text
    assert "rows in" in page.text and len(page.ids) == len(set(page.ids))
