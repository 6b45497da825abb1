"""Lists of operators: in order, each with an account; makers' rows are left as they are made."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.curate.rows import places, table
from tools.curate.steps import _OPERATORS, carry_out, render
from tools.errors import UserError
from tools.recipe.operators.declared import (
    OPERATORS,
    AnswerFormat,
    Augment,
    Decontaminate,
    Dedup,
    Filter,
    Map,
    NearDedup,
    Repeat,
    Sample,
    Step,
    Strip,
)  # fmt: skip


def none(options: Decontaminate) -> dict[str, list[str]]:
    return {"own": ["What is it?"]}


def test_every_operator_has_a_body() -> None:
    assert {*_OPERATORS, "decontaminate"} == set(OPERATORS)


def test_in_order_and_accounted_for() -> None:
    rows = table(("a b", " x"), ("A b.", " x"), ("a b c d", " y"), ("What is it?", " z"))
    steps: list[Step] = [
        {"dedup": Dedup()},
        {"filter": Filter(max_words=4)},
        {"decontaminate": Decontaminate()},
    ]
    left, accounts = carry_out(rows, steps, "data.operators", 1, none)
    assert places(left) == [1]
    assert [(one.key, one.before, one.after) for one in accounts] == [
        ("data.operators[0].dedup", 4, 3),
        ("data.operators[1].filter", 3, 2),
        ("data.operators[2].decontaminate", 2, 1),
    ]
    for one in accounts:
        assert one.before - sum(one.left.values()) + one.added == one.after
    text = render(accounts)
    assert "3 ->" in text and "1 more than 4 words" in text and "mine:2: same prompt and" in text


def test_operators_on_training_rows_are_another_time() -> None:
    rows = table(("Q", " x"))
    steps: list[Step] = [{"repeat": Repeat(2)}, {"filter": Filter(min_words=9)}]
    assert carry_out(rows, steps, "k", 1, none)[0].num_rows == 0
    assert carry_out(rows, steps, "k", 1, none, last=True)[0].num_rows == 2


TEXT = st.text("aB ", max_size=3)


@given(
    pairs=st.lists(st.tuples(st.sampled_from(["made", "read"]), TEXT), max_size=8),
    step=st.sampled_from(
        [
            {"near_dedup": NearDedup(1, 0.5)},
            {"map": Map("prompt", pattern="a", to="b")},
            {"answer_format": AnswerFormat("number")},
            {"augment": Augment("lower_case", beside=True)},
            {"repeat": Repeat(2)},
            {"strip": Strip(["citations"])},
        ]
    ),
)
def test_rows_of_makers_are_left_alone(pairs: list[tuple[str, str]], step: Step) -> None:
    rows = table(*[(text, " a") for _, text in pairs])
    rows = rows.set_column(0, "source", pa.array([source for source, _ in pairs], pa.string()))
    last = bool({"augment", "repeat"} & step.keys())
    left, _ = carry_out(rows, [step], "k", 1, none, ["made"], last)

    def made(table: pa.Table) -> list[tuple[str, str]]:
        found = zip(
            *(table.column(n).to_pylist() for n in ("source", "place", "prompt")), strict=True
        )
        return [(place, prompt) for source, place, prompt in found if source == "made"]

    assert made(left) == made(rows)
    assert places(left) == sorted(places(left)), "order is kept"
    assert left.column_names == rows.column_names


def test_the_key_and_the_seed_decide_a_draw() -> None:
    rows = table(*[(f"q{n}", " a") for n in range(50)])
    steps: list[Step] = [{"sample": Sample(n=10)}]
    draws = [
        places(carry_out(rows, steps, key, seed, none)[0])
        for key, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2))
    ]
    assert draws[0] == draws[1] and draws[2] != draws[0] != draws[3]


def test_a_fault_names_its_operator() -> None:
    with pytest.raises(UserError, match=r"data.operators\[1\]: sample: the rows have no score"):
        carry_out(
            table(("q", " a")),
            [{"dedup": Dedup()}, {"sample": Sample(below=1)}],
            "data.operators",
            1,
            none,
        )


def test_no_rows() -> None:
    for name in OPERATORS:
        if name in ("dedup", "near_dedup", "decontaminate", "filter", "fingerprint"):
            kind = Step.__annotations__[name]
            left, _ = carry_out(table(), [{name: kind()}], "k", 1, none)  # type: ignore[misc]
            assert left.num_rows == 0
