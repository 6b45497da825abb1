"""The hidden scenarios' files: what is read of them, and where they come from."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.evaluate.helm import small_data
from tools.questions import hidden_data
from tools.questions.hidden_data import SOURCES, locate, questions

HEADERS = {  # as the organizers' reader had them: it skipped the line and took the columns in order
    "corr2cause": ("label", "input"),
    "ethics_commonsense": ("label", "input", "is_short", "edited"),
    "ethics_justice": ("label", "scenario"),
}
# Any line that a CSV file can give back as it was.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(str.strip)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_data.write(tmp_path)
    return tmp_path / "scenarios"


@pytest.mark.parametrize("task", SOURCES)
def test_each_file_is_split_as_the_organizers_did(folder: Path, task: str) -> None:
    found = questions(task, folder / task / SOURCES[task].file)
    count = 3 if task == "sam_sum" else len(small_data.NUMBERS)
    train = {"sam_sum": 0, "ethics_utilitarianism": 7}.get(task, 8)
    assert [q.split for q in found] == ["train"] * train + ["valid"] * (count - train)


@pytest.mark.parametrize(
    ("task", "text", "answers", "right"),
    [
        ("corr2cause", "Premise: {0}\nHypothesis: {0}", ("No", "Yes"), 1),
        ("ethics_commonsense", "I did {0}.", ("Yes", "No"), 0),
        ("ethics_justice", "I deserve {0}.", ("Unreasonable", "Reasonable"), 1),
    ],
)
def test_label_counts_the_answers(
    tmp_path: Path, task: str, text: str, answers: tuple[str, ...], right: int
) -> None:
    rows = [HEADERS[task], (right, f" {text.format('x')} ", "True", "False")]
    [found] = questions(task, small_data.table(tmp_path / "t.csv", rows))
    assert (found.text, found.answers, found.right) == (text.format("x"), answers, right)


def test_deontology_has_an_excuse_and_virtue_a_trait(tmp_path: Path) -> None:
    rows: list[Any] = [("label", "scenario", "excuse"), (1, "Should you? ", " No because.")]
    [excuse] = questions("ethics_deontology", small_data.table(tmp_path / "d.csv", rows))
    assert (excuse.text, excuse.answers) == ("Should you?\nExcuse: No because.", ("No", "Yes"))
    rows = [("label", "scenario"), (0, "She ran. [SEP] brave")]
    [trait] = questions("ethics_virtue", small_data.table(tmp_path / "v.csv", rows))
    assert (trait.text, trait.answers, trait.right) == ("She ran.\nTrait: brave", ("No", "Yes"), 0)


def test_dialogue_is_kept_as_it_is(folder: Path) -> None:
    first = questions("sam_sum", folder / "sam_sum" / SOURCES["sam_sum"].file)[0]
    assert first.text == "Anna: Are you coming to party 0?\r\nBen: Yes, with my dog."
    assert first.answers[0].endswith("Ben is coming to party 0 with his dog.")


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    """As the hub has corr2cause and SAMSum."""
    rows: list[Any] = [("input", "label", "template"), ("Premise.", 1, "x")]
    [found] = questions("corr2cause", small_data.table(tmp_path / "c.csv", rows))
    assert (found.text, found.right) == ("Premise.", 1)
    rows = [("id", "dialogue", "summary"), ("1", "A: Hi\nB: Ho", "They greet.")]
    [talk] = questions("sam_sum", small_data.table(tmp_path / "samsum.csv", rows))
    assert (talk.text, talk.answers) == ("A: Hi\nB: Ho", ("They greet.",))


@pytest.mark.parametrize("header", [[], [("baseline", "less_pleasant")]])
def test_pairs_of_the_data_set_itself_get_labels(tmp_path: Path, header: list[Any]) -> None:
    rows = [(f"good {n}", f"bad {n}") for n in range(50)]
    file = small_data.table(tmp_path / "u.csv", [*header, *rows])
    found = questions("ethics_utilitarianism", file)
    assert len(found) == 50 and {q.right for q in found} == {0, 1}
    for question in found:
        better = question.text.splitlines()[question.right]
        assert better.startswith(f"Scenario {question.right + 1}: good")
    assert found == questions("ethics_utilitarianism", file)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from([0, 1]), TEXTS), min_size=1, max_size=30))
def test_whatever_stands_in_a_file_is_asked_once(
    tmp_path: Path, rows: list[tuple[int, str]]
) -> None:
    """No row is lost or changed, and the order does not hang on the state of ``random``."""
    file = small_data.table(tmp_path / "j.csv", [("label", "scenario"), *rows])
    found = questions("ethics_justice", file)
    random.seed(len(rows))
    random.random()
    assert found == questions("ethics_justice", file)
    assert sorted((q.right, q.text) for q in found) == sorted(rows)
    shuffled = list(rows)
    random.seed(0)  # as the organizers' scenario did it
    random.shuffle(shuffled)
    assert [(q.right, q.text) for q in found] == shuffled
    assert sum(q.split == "train" for q in found) == int(len(rows) * 0.8)


@pytest.mark.parametrize(
    ("task", "text", "said"),
    [
        ("ethics_justice", "label,scenario\n2,x\n", ":2: label '2' is neither 0 nor 1"),
        ("ethics_justice", "label,scenario\n1\n", ":2: 1 fields, not label, scenario"),
        ("ethics_justice", "label,scenario\n", ": no rows"),
        ("ethics_justice", "", ": no rows"),
        ("ethics_virtue", "label,scenario\n1,He ran.\n", ":2: no ' [SEP] ' between"),
        ("ethics_deontology", "label,scenario\n1,x\n", ":2: 2 fields, not label, scenario, excuse"),
        ("ethics_utilitarianism", "a,b\nc\n", ":2: 1 fields, not more pleasant"),
        ("ethics_justice", "\xe9", "can't decode"),
    ],
)
def test_a_bad_file_is_named_with_the_place(
    tmp_path: Path, task: str, text: str, said: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError) as caught:
        questions(task, file)
    assert str(caught.value).startswith(str(file)) and said in str(caught.value)


@pytest.fixture
def server() -> Iterator[Callable[[str], str]]:
    """Gives the address under which a text is served; ``missing`` is not there."""
    texts: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = texts.get(self.path)
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    def serve(text: str) -> str:
        path = f"/{len(texts)}"
        if text != "missing":
            texts[path] = text
        return f"http://127.0.0.1:{http.server_port}{path}"

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield serve
        http.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    """Let ethics_justice be had from these addresses."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    source = replace(SOURCES["ethics_justice"], urls=urls)
    monkeypatch.setitem(hidden_data.SOURCES, "ethics_justice", source)


GOOD = "label,scenario\n1,I deserve it.\n"


def test_a_file_that_is_there_is_not_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "http://127.0.0.1:1/never")
    file = folder / "ethics_justice" / SOURCES["ethics_justice"].file
    before = file.read_bytes()
    assert locate("ethics_justice", folder / "ethics_justice") == file
    assert file.read_bytes() == before


def test_the_second_address_serves_when_the_first_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Callable[[str], str]
) -> None:
    offer(monkeypatch, server("missing"), server("<html>Sorry</html>"), server(GOOD))
    assert locate("ethics_justice", tmp_path).read_text(encoding="utf-8") == GOOD
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["justice_hard.csv"]


def test_a_file_that_cannot_be_had_is_named_with_what_to_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Callable[[str], str]
) -> None:
    offer(monkeypatch, server("missing"), "http://127.0.0.1:1/x")
    with pytest.raises(FileNotFoundError) as caught:
        locate("ethics_justice", tmp_path)
    message = str(caught.value)
    assert "ethics_justice" in message and str(tmp_path / "data/justice_hard.csv") in message
    assert "Not Found" in message and "refused" in message
    assert "CSV file with the columns label, scenario" in message and "\n" not in message
    assert not list((tmp_path / "data").iterdir())


def test_each_file_is_fetched_from_two_places_by_https() -> None:
    for source in SOURCES.values():
        assert len(source.urls) == 2 and all(url.startswith("https://") for url in source.urls)
        assert source.urls[0].endswith(Path(source.file).name)
