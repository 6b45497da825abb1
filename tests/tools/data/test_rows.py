"""Rows on the disk: what is quicker than the plain way comes out as the plain way does."""

import gc
import json
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tools.data.prepare import _patient
from tools.data.rows import Rows
from tools.data.shapes.base import Made
from tools.data.sources import _too_long

#: Whatever a row may say, ends of lines, quotes and all that JSON escapes or Python parts at often.
texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from([*map(chr, range(33)), '"', "\\", "\x7f", "\x85", "\xa0", "\u2003", "a"]),
    )
)


@given(texts, texts)
@example('a\nb "c" \\', "\x1f\x7f\u2028")
def test_a_row_is_the_json_of_its_texts(prompt: str, completion: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows("mine", Path(folder))
        rows.add(Made(1, prompt, completion), 0)
        rows.add(Made(2, "", "", segments=((False, prompt), (True, completion))), 0)
        rows.done()
    wanted = [{"label": False, "text": prompt}] * bool(prompt)
    wanted += [{"label": True, "text": completion}]
    assert rows.segments(0).decode() == json.dumps(wanted, ensure_ascii=False)
    assert [one["text"] for one in json.loads(rows.segments(1))] == [prompt, completion]


@given(texts, texts, st.integers(0, 12))
@example("a\vb\x1cc", "d", 4)
@example("a\vb\x1cc", "d", 3)
@example("a\u2003b", "c", 2)
def test_words_are_those_that_split_gives(prompt: str, completion: str, most: int) -> None:
    wanted = len(prompt.split()) + len(completion.split()) > most
    assert _too_long(Made(1, prompt, completion), most) is wanted


def test_garbage_is_looked_for_as_before_when_all_is_done() -> None:
    before = gc.get_threshold()
    with _patient():
        assert gc.isenabled()
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
