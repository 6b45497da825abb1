"""Which questions changed hands, and which of them are shown."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import make_run
from tests.tools.report.conftest import HOSTILE, evaluate, make_rows
from tools.report.gathered.judged.changes import SAMPLE, changes, draw
from tools.report.gathered.source import Missing, Source
from tools.run.folder import Run

PLACES = st.tuples(st.sampled_from(["gsm", "mmlu"]), st.integers(0, 99).map(str))


@given(st.dictionaries(PLACES, st.sampled_from([0.25, 1.0])), st.text())
def test_the_largest_changes_first_whatever_the_order(
    changed: dict[tuple[str, str], float], seed: str
) -> None:
    found = draw(changed, seed)
    assert len(set(found)) == len(found) == min(SAMPLE, len(changed))
    assert [changed[each] for each in found] == sorted(changed.values(), reverse=True)[:SAMPLE]
    assert draw(dict(reversed(changed.items())), seed) == found


def test_lost_and_won_by_id_with_both_answers(whole: Run) -> None:
    found = {each["scenario"]: each for each in changes(Source(whole))["scenarios"]}
    counting = found["oneday: counting"]
    assert (counting["lost"]["count"], counting["won"]["count"], counting["questions"]) == (0, 6, 8)
    assert [id_ for _, id_ in counting["won"]["questions"]] == [f"id{i}" for i in range(6)]
    assert len(counting["won"]["examples"]) == SAMPLE and not counting["graded"]
    one = counting["won"]["examples"][0]
    assert HOSTILE in one["question"] and one["wanted"]
    assert (one["answers"]["base"]["value"], one["answers"]["tuned"]["value"]) == (0, 1)


def test_where_most_was_lost_comes_first(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    make_rows(run)
    answered = {"a": ([0, 0], [1, 1]), "b": ([1, 1], [0, 1]), "c": ([1, 1], [0, 0])}
    for who in ("base", "tuned"):
        evaluate(run, who, answered)
    found = changes(Source(run))["scenarios"]
    assert [(each["scenario"], each["lost"]["count"]) for each in found] == [
        ("c", 2),
        ("b", 1),
        ("a", 0),
    ]


def test_one_model_alone_wins_and_loses_nothing(whole: Run) -> None:
    shutil.rmtree(whole.output("eval_base"))
    with pytest.raises(Missing, match="only the tuned model was evaluated"):
        changes(Source(whole))
