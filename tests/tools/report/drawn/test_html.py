"""Texts stay texts."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from tools.report.drawn.html import Html, breakable, fold, join, table, tag, text

# Without carriage returns and NUL, which a browser's parser rewrites in any text.
TEXT = st.text(st.characters(exclude_characters="\r\0", codec="utf-8"))


class Reader(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


@given(TEXT, TEXT)
def test_no_text_becomes_markup(child: str, attribute: str) -> None:
    found = read(tag("p", child, title=attribute))
    assert found.tags == ["p"] and found.text == child
    assert found.attributes == [("title", attribute)]


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "1 < 2"), [" & ", None, 3]) == "<p><b>1 &lt; 2</b> &amp; 3</p>"
    assert isinstance(join(["a", tag("br")]), Html) and join(["<", tag("br")]) == "&lt;<br>"


def test_a_name_may_break_where_its_words_end_and_stays_the_same() -> None:
    made = breakable("a_<b>:c=1,")
    assert made == "a_<wbr>&lt;b&gt;:<wbr>c=1," and read(made).text == "a_<b>:c=1,"


def test_attributes() -> None:
    made = tag("td", class_="x", data_y=1, hidden=True, title=None, open=False)
    assert made == '<td class="x" data-y="1" hidden></td>'


def test_a_table_says_what_its_heads_are_for() -> None:
    made = table(("name", "n"), [("<a>", 1)], "A label", sortable=True)
    assert '<th scope="col">name</th>' in made and '<th scope="row">&lt;a&gt;</th>' in made
    assert '<td class="number">1</td>' in made and 'aria-label="A label"' in made


def test_a_table_s_head_need_not_be_the_first_and_it_says_that_it_scrolls() -> None:
    made = table(("verdict", "name", "n"), [("better", "a", 1)], "A label", words=2, head=1)
    assert '<td>better</td><th scope="row">a</th><td class="number">1</td>' in made
    assert '<p class="more" aria-hidden="true" hidden>more columns' in made


def test_an_empty_text_is_told() -> None:
    assert "an empty answer" in text("", "an empty answer") and "verbatim" in text(" ")
    assert fold("more", "x") == "<details><summary>more</summary>x</details>"
