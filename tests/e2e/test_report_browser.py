"""The report in a real browser: whole, without errors, on a laptop and a phone, light and dark."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import NAMES, Page, browser, program
from tests.tools.report.conftest import build
from tools.files import write_json
from tools.report.gathered.gather import PARTS
from tools.report.write import report

if program() is None:
    pytest.skip(f"no browser: none of {', '.join(NAMES)} on PATH", allow_module_level=True)

WINDOWS = {"laptop": (1280, 800), "phone": (390, 844)}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Elements that stick out at the right, but for those inside a part that scrolls by itself.
STICKING = """
[...document.querySelectorAll('main *, header *, nav *')].filter((e) =>
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
  && !e.closest('.scroll, .unseen'))
.map((e) => e.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with a pool."""
    folder = tmp_path_factory.mktemp("report")
    published = [
        {"entry": f"team-{i}", "metrics": {"MMLU - EM": i / 10, "GSM8K - EM": 0.4 - i / 20}}
        for i in range(8)
    ]
    write_json(folder / "pool.json", {"source": "nobody", "entries": published})
    return report(build(folder / "runs"), [folder / "pool.json"], " HW=cpu")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whole_and_without_errors(page: Page, file: Path, window: str, scheme: str) -> None:
    page.faults.clear()
    page.requests.clear()
    page.open(file, *WINDOWS[window], scheme)
    for name in PARTS.keys() - {"versus", "sweep"}:  # there is neither another run nor a sweep
        assert page.value(f"document.getElementById('{name}').offsetHeight") > 50, name
    assert page.value("document.querySelectorAll('figure svg').length") == 7
    absent = "Array.from(document.querySelectorAll('.missing'), (one) => one.closest('section').id)"
    assert page.value(absent) == ["worker"]  # this run has no log of it
    assert page.value("document.querySelectorAll('img').length") == 0
    assert page.value(OVERFLOW) <= 0
    page.value("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.value(STICKING) == [] and page.value(OVERFLOW) <= 0
    assert page.faults == [] and page.requests == [file.absolute().as_uri()]


def test_the_overflow_check_can_fail(page: Page, file: Path) -> None:
    page.open(file, *WINDOWS["phone"], "light")
    page.value("document.querySelector('main').innerHTML += '<p style=\"width:500px\">wide</p>'")
    assert page.value(OVERFLOW) > 0 and page.value(STICKING)


def test_pictures_are_not_blank_and_differ(page: Page, file: Path) -> None:
    from PIL import Image

    pictures = {}
    for window, size in WINDOWS.items():
        for scheme in ("light", "dark"):
            page.open(file, *size, scheme)
            picture = Image.open(io.BytesIO(page.picture())).convert("L")
            pictures[window, scheme] = picture
            assert picture.size == size and len(picture.getcolors() or []) > 30
    for window in WINDOWS:
        light, dark = (
            sum(p.histogram()[128:]) for p in (pictures[window, s] for s in ("light", "dark"))
        )
        assert light > 5 * dark, "a dark page is mostly dark, a light one mostly light"


def test_texts_keep_their_size_on_a_phone(page: Page, file: Path) -> None:
    page.open(file, *WINDOWS["phone"], "light")
    sizes = page.value("[...document.querySelectorAll('.y span')].map((e) => e.offsetHeight)")
    assert sizes and min(sizes) >= 12


def test_the_pointer_reads_a_chart_out(page: Page, file: Path) -> None:
    page.open(file, *WINDOWS["laptop"], "light")
    page.value("document.getElementById('chart-loss').scrollIntoView({behavior: 'instant'})")
    box = page.value(
        "(({x, y, width, height}) => ({x, y, width, height}))"
        "(document.querySelector('#chart-loss .area').getBoundingClientRect())"
    )
    page.point(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
    read = page.value("document.querySelector('#chart-loss .read').textContent")
    assert read == "optimizer step 60: training 0.3873, held out 0.3227"


def test_a_click_sorts_a_table_by_number(page: Page, file: Path) -> None:
    page.open(file, *WINDOWS["laptop"], "light")
    click = "document.querySelector('#scores thead th:nth-child(8) button').click()"
    column = (
        "[...document.querySelectorAll('#scores tbody td:nth-child(8)')].map((e) => e.textContent)"
    )
    page.value(click)
    assert page.value(column)[:2] == ["8", "6"]
    page.value(click)
    assert page.value(column)[:2] == ["6", "8"]


def test_it_is_whole_without_scripts(page: Page, file: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(file, *WINDOWS["laptop"], "light")
        assert page.value("document.querySelectorAll('figure svg').length") == 7
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
