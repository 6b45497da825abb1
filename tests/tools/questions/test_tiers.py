"""The tiers: the organizers' files, entry by entry, and what other numbers of questions make."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import UserError
from tools.questions import tiers
from tools.recipe.run_entries import without_model, wrong
from tools.recipe.schema import Eval

CONFS = Path(__file__).resolve().parents[4] / "shared" / "data"
NAMES = ["open", "hidden", "full", "sample", "starter"]


def asked(tier: str, **tiers_: list[str]) -> Eval:
    return Eval(tier, tiers_, max_instances=10, threads=4)


def bound(entry: str) -> int:
    found = re.search(r"max_eval_instances=(\d+)", entry)
    assert found, entry
    return int(found[1])


@pytest.mark.parametrize(
    ("tier", "file", "count"),
    [
        ("open:100", "run_specs_open_100.conf", 87),
        ("open:2000", "run_specs_open_2000.conf", 87),
        ("open", "run_specs_open_2000.conf", 87),
        ("hidden:100", "run_specs_closed_100.conf", 22),
        ("hidden:5000", "run_specs_closed_5000.conf", 22),
        ("hidden", "run_specs_closed_5000.conf", 22),
        ("sample:600", "run_specs_600.conf", 88),
        ("sample", "run_specs_600.conf", 88),
        ("starter", "run_specs.conf", 30),
    ],
)
def test_a_tier_is_the_organizers_file(tier: str, file: str, count: int) -> None:
    if not CONFS.is_dir():
        pytest.skip(f"no {CONFS}")
    text = (CONFS / file).read_text(encoding="utf-8")
    theirs = re.findall(r'^\s*\{description: "([^"]+)"', text, re.MULTILINE)
    assert len(theirs) == count
    assert sorted(tiers.stage(tier)) == sorted(theirs)


def test_full_is_both_stages_of_the_final() -> None:
    assert tiers.stage("full") == tiers.stage("open:2000") + tiers.stage("hidden:5000")
    assert tiers.stage("full:50") == tiers.stage("open:50") + tiers.stage("hidden:50")


@pytest.mark.parametrize("name", NAMES)
def test_helm_knows_every_entry(name: str) -> None:
    found = tiers.stage(name)
    assert found and len(set(found)) == len(found)
    assert not [wrong(without_model(entry)) for entry in found if wrong(without_model(entry))]


@given(st.sampled_from(["open", "hidden", "sample", "starter"]), st.integers(1, 20_000))
def test_a_tier_asks_as_many_questions_as_it_says(name: str, questions: int) -> None:
    assert sum(map(bound, tiers.stage(f"{name}:{questions}"))) == questions


@given(
    st.integers(1, 10_000),
    st.lists(st.text("abcdef", min_size=1, max_size=2), min_size=1, unique=True),
)
def test_budgets_are_even(questions: int, groups: list[str]) -> None:
    odd = sorted(groups, reverse=True)[:3]
    found = tiers.budgets(questions, groups, odd)
    each = questions // len(groups)
    assert sum(found.values()) == questions and set(found.values()) <= {each, each + 1}
    others = [found[name] for name in groups if name not in odd]
    if others and max(others) > each:
        assert all(found[name] > each for name in odd)  # they come first


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_shares_grow_towards_the_end(questions: int, members: int) -> None:
    found = tiers.shares(questions, members)
    assert sum(found) == questions and found == sorted(found) and found[-1] - found[0] <= 1


def test_what_asks_nothing_is_left_out() -> None:
    everything, some = tiers.everything(asked("open:100")), tiers.entries(asked("open:100"))
    left = [one.description for one in everything if one not in some]
    assert left and all(entry.endswith("max_eval_instances=0") for entry in left)
    assert sum(bound(one.description) for one in some) == 100


def test_a_recipes_own_tier_comes_first() -> None:
    found = tiers.entries(asked("open", open=["simple_mcqa", "gsm:max_eval_instances=0"]))
    assert [(one.description, one.where) for one in found] == [
        ("simple_mcqa", "eval.tiers.open[0]")
    ]


def test_a_tier_may_be_a_conf_file(tmp_path: Path) -> None:
    file = tmp_path / "my.conf"
    file.write_text('entries: [\n{description: "gsm:model=text", priority: 2, groups: [a]}]\n')
    (found,) = tiers.entries(asked(str(file)))
    assert (found.description, found.priority, found.groups) == ("gsm:model=text", 2, ("a",))
    assert found.where == f"{file}:2"


@pytest.mark.parametrize(
    ("tier", "said"),
    [
        (
            "opn",
            "no tier 'opn'; did you mean open?; there are quick, open, hidden, sample, starter",
        ),
        ("quik", "did you mean quick?"),
        ("hiden:100", "did you mean hidden?"),
        ("open:", "'open:': give a number of questions, as open:100"),
        ("open:0", "give a number"),
        ("open:-3", "give a number"),
        ("open:²", "give a number"),
        ("full:many", "as full:100"),
        ("gone.conf", "gone.conf: no such file"),
    ],
)
def test_tells_what_is_no_tier(tier: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        tiers.entries(asked(tier, quick=["simple_mcqa"]))
    assert said in str(caught.value) and str(caught.value).startswith("eval.tier: ")


def test_knows_its_names() -> None:
    own = {"quick": ["gsm"]}
    known = ["quick", "my.conf", *NAMES, "open:100"]
    assert all(tiers.is_known(name, own) for name in known) and not tiers.is_known("quik", own)


def changed(section: Eval, **values: object) -> Eval:
    return Eval(**{**section.__dict__, **values})


def test_the_fingerprint_is_what_decides_scores(tmp_path: Path) -> None:
    before = asked("quick", quick=["gsm"], other=["simple_mcqa"])
    mark = tiers.fingerprint(before)
    same = [
        changed(before, threads=30, limit_minutes=5.0),
        changed(before, tiers={"quick": ["gsm"]}),
        changed(before, tier="renamed", tiers={"renamed": ["gsm"]}),
        changed(before, data=str(tmp_path)),  # there is nothing in it that gsm reads
    ]
    assert [tiers.fingerprint(one) for one in same] == [mark] * len(same)
    others = [
        changed(before, max_instances=11),
        changed(before, tier="other"),
        changed(before, tiers={"quick": ["gsm", "bbq:subject=all"]}),
        changed(before, tier="nowhere"),
    ]
    assert all(tiers.fingerprint(one) != mark for one in others)
    bounded = asked("open:100")
    assert tiers.fingerprint(bounded) == tiers.fingerprint(changed(bounded, max_instances=99))


def test_the_fingerprint_sees_the_data(tmp_path: Path) -> None:
    file = tmp_path / "scenarios/gsm/gsm_data_test"
    file.parent.mkdir(parents=True)
    file.write_text("one\n")
    section = changed(asked("quick", quick=["gsm"]), data=str(tmp_path))
    before = tiers.fingerprint(section)
    (file.parent / "unrelated").write_text("x")
    assert tiers.fingerprint(section) == before
    file.write_text("another\n")
    assert tiers.fingerprint(section) != before


def test_the_fingerprint_sees_an_edited_conf(tmp_path: Path) -> None:
    file = tmp_path / "my.conf"
    file.write_text('entries: [{description: "gsm:model=text"}]')
    before = tiers.fingerprint(asked(str(file)))
    file.write_text('entries: [{description: "gsm:model=text,max_eval_instances=3"}]')
    assert tiers.fingerprint(asked(str(file))) != before
