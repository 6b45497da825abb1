"""Stop sequences in a text that arrives in pieces."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from serve.stops import StopMatcher


@given(
    text=st.text("ab\n", max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
)
@settings(max_examples=500)
def test_stop_is_found_with_the_piece_that_completes_it(
    text: str, cuts: list[int], stops: list[str]
) -> None:
    """Against the plain search: in each prefix of the text, the first stop that is complete."""
    matcher = StopMatcher(stops)
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(bounds):
        places = [text[:end].find(stop) for stop in stops if stop in text[:end]]
        found = matcher.push(text[start:end])
        assert found == (min(places) if places else None)
        if found is not None:
            break


@given(
    st.lists(st.text("ab", max_size=3), max_size=8),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_only_what_may_become_a_stop_is_not_settled(pieces: list[str], stops: list[str]) -> None:
    matcher, text = StopMatcher(stops), ""
    for piece in pieces:
        text += piece
        if matcher.push(piece) is not None:
            break
        held = text[matcher.settled() :]
        assert not held or any(stop.startswith(held) for stop in stops)
        longer = (text[len(text) - n :] for n in range(len(held) + 1, len(text) + 1))
        assert not any(stop.startswith(tail) for tail in longer for stop in stops)
