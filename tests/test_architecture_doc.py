"""The floor plan is the house: rooms, floors and files as they are; and it answers a newcomer."""

import re
from pathlib import Path

import pytest

from tests.house import FLOORS, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = re.findall(r"`((?:tools|serve|tests|recipes)/[\w./]+\.(?:py|json|yaml))`", PAGE)

#: What somebody who has read the page alone is asked, and the file that they must name.
QUESTIONS = {
    "Where is a misspelt key's nearest right spelling suggested?": "tools/recipe/faults.py",
    "Who decides that training stops now, for time is over?": "tools/day/schedule.py",
    "Which file decides whether a stage has to run again?": "tools/run/folder.py",
    "Where is the YAML that Axolotl reads written?": "tools/axolotl/child.py",
    "Where does a request wait for, and get, its place in the KV cache?": "serve/engine/slots.py",
    "Where is the next token of an answer drawn?": "serve/engine/sampling.py",
    "What names the order of data, train, merge, quantize, eval?": "tools/chain/stages.py",
    "Where are the organizers' win rates computed?": "tools/score/ranking.py",
    "Where is it proven that an old run's files are what its manifest says?": (
        "tools/rebuild/verify.py"
    ),
    "Where do the run entries of the tier open:100 come from?": "tools/questions/tiers.py",
}


def test_the_table_is_the_list_of_floors() -> None:
    rows = re.findall(r"^\| (\d+) \| `?(\w+)`? \| `(\S+)` \|", PAGE, re.MULTILINE)
    listed = [(int(floor), room) for floor, room, _ in rows]
    assert listed == [(level, room) for level, floor in enumerate(FLOORS, 1) for room in floor]
    assert all((ROOT / first).is_file() for _, _, first in rows)


def test_every_file_it_names_exists() -> None:
    assert len(FILES) > 40
    assert [name for name in FILES if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("life", ["A recipe key", "A request"])
def test_a_life_has_eight_steps_that_each_name_a_file(life: str) -> None:
    steps = re.findall(r"^\d\. .*$", PAGE.split(f"## {life}")[1].split("\n## ")[0], re.MULTILINE)
    assert len(steps) == 8
    assert all(re.search(r"`(?:tools|serve)/[\w./]+\.py`", step) for step in steps)


def test_the_faces_name_the_same_file_to_open_first() -> None:
    for room, first in re.findall(r"^\| \d+ \| `(\w+)` \| `(\S+)` \|", PAGE, re.MULTILINE):
        if room != "__main__":
            face = (ROOT / "tools" / room / "__init__.py").read_text(encoding="utf-8")
            assert f"Open ``{Path(first).name}``" in face, room


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_page_leads_to_the_answer(question: str) -> None:
    answer = QUESTIONS[question]
    assert (ROOT / answer).is_file()
    assert f"`{answer}`" in PAGE or f"`{Path(answer).name}`" in PAGE


def test_readme_leads_here() -> None:
    assert "docs/architecture.md" in (ROOT / "README.md").read_text(encoding="utf-8")
