"""Which questions two answered alike: by id, and by words where they are known."""

import json
from pathlib import Path

import pytest

from tests.tools.score.helm_suite import original, write_run
from tools.score.per_question import STATES, pairs, questions, values


def two(root: Path) -> list[Path]:
    return [
        write_run(root / "old", "gsm", original(0, 1, 0)),
        write_run(root / "new", "gsm", original(1, 1, 0.5, 1)),
    ]


def worded(folder: Path, *texts: str) -> None:
    states = [
        {"instance": {"id": f"id{number}", "input": {"text": text}}}
        for number, text in enumerate(texts)
    ]
    calibrating = {**states[0], "request_mode": "calibration"}
    (folder / STATES).write_text(json.dumps({"request_states": [*states, calibrating]}))


def test_by_their_ids(tmp_path: Path) -> None:
    folders = two(tmp_path)
    assert values(folders[0], "exact_match", "test") == {"id0": 0, "id1": 1, "id2": 0}
    assert pairs(folders, "exact_match", ["test", "test"]) == [(0, 1), (1, 1), (0, 0.5)]
    assert pairs(folders, "exact_match", ["test", "valid"]) == []


def test_rows_made_anew_have_the_ids_of_the_old_ones(tmp_path: Path) -> None:
    folders = two(tmp_path)
    worded(folders[0], "one", "two", "three")
    worded(folders[1], "one", "another", "three", "four")
    assert questions(folders[0]) == {"id0": "one", "id1": "two", "id2": "three"}
    assert pairs(folders, "exact_match", ["test", "test"]) == [(0, 1), (0, 0.5)]


@pytest.mark.parametrize("text", ["[1]", '[{"instance_id": 1}]', '[{"stats": 7}]'])
def test_none_of_a_damaged_file(text: str, tmp_path: Path) -> None:
    folders = two(tmp_path)
    (folders[0] / "per_instance_stats.json").write_text(text)
    assert pairs(folders, "exact_match", ["test", "test"]) == []
