"""Who is fed next: short prompts soon, long ones never left behind, the budget never passed."""

from hypothesis import given
from hypothesis import strategies as st

from serve.engine.turns import MOST_OVERTAKEN, Turns


def turn(pending: list[int], answers: int, budget: int = 64, fixed: bool = False) -> dict[int, int]:
    return dict(Turns(budget, fixed).next(pending, answers))


def test_nothing_waits() -> None:
    assert turn([], 3) == {}


def test_without_answers_the_whole_budget_is_fed() -> None:
    assert turn([100], 0) == {0: 64}
    assert turn([40, 100], 0) == {0: 40, 1: 24}


def test_without_answers_the_first_is_served_first() -> None:
    assert turn([60, 10, 5], 0) == {0: 60, 1: 4}


def test_beside_answers_a_long_prompt_is_fed_in_small_pieces() -> None:
    assert turn([100], 15) == {0: 8}


def test_a_queue_of_long_prompts_gets_most_of_a_step() -> None:
    assert turn([100] * 30, 2) == {0: 60}


def test_short_prompts_go_first_and_whole() -> None:
    assert turn([100, 20, 10], 15) == {2: 10, 1: 20}


def test_a_long_prompt_is_not_overtaken_for_ever() -> None:
    turns = Turns(64, fixed=False)
    steps = [dict(turns.next([100, 20], 15)) for _ in range(2 * (MOST_OVERTAKEN + 1))]
    assert [0 in step for step in steps] == ([False] * MOST_OVERTAKEN + [True]) * 2


def test_fixed_shapes_take_one_prompt_in_whole_pieces() -> None:
    assert turn([100, 5], 3, fixed=True) == {0: 64}


@given(
    st.lists(st.integers(2, 3000), max_size=40),
    st.integers(0, 40),
    st.integers(16, 512),
    st.booleans(),
)
def test_it_fits_and_gets_on(pending: list[int], answers: int, budget: int, fixed: bool) -> None:
    parts = list(Turns(budget, fixed).next(pending, answers))
    assert bool(parts) == bool(pending)
    assert sum(count for _, count in parts) <= budget
    assert len({place for place, _ in parts}) == len(parts)
    assert all(0 < count <= pending[place] for place, count in parts)


@given(st.lists(st.integers(2, 300), min_size=1, max_size=12), st.integers(0, 40))
def test_every_prompt_is_fed_in_the_end(pending: list[int], answers: int) -> None:
    turns, left = Turns(64, fixed=False), dict(enumerate(pending))
    for _ in range(sum(pending)):
        places = list(left)
        for place, count in list(turns.next(list(left.values()), answers)):
            left[places[place]] -= count
        left = {place: count for place, count in left.items() if count}
    assert not left
