"""HELM's conf files: read as HELM reads them, and every fault with its line."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import UserError
from tools.questions import conf
from tools.questions.conf import Entry

CONFS = Path(__file__).resolve().parents[4] / "shared" / "data"


def read(folder: Path, text: str) -> list[Entry]:
    file = folder / "my.conf"
    file.write_text(text, encoding="utf-8")
    return conf.read(file)


def test_reads_the_organizers_files() -> None:
    files = sorted(CONFS.glob("*.conf"))
    if not files:
        pytest.skip(f"no {CONFS}")
    for file in files:
        found = conf.read(file)
        text = file.read_text(encoding="utf-8")
        assert [one.description for one in found] == re.findall(
            r'^\s*\{description: "([^"]+)"', text, re.MULTILINE
        )
        assert {one.priority for one in found} == {1}
        for one in found:
            line = text.splitlines()[int(one.where.rpartition(":")[2]) - 1]
            assert one.description in line


@pytest.mark.parametrize(
    "text",
    [
        'entries: [{description: "gsm:model=x", priority: 1}]',
        '{ entries = [ {description = "gsm:model=x"}, ] }',
        'entries [{"description": "gsm:model=x" priority: 1,},]',
        '# a\n// b\nentries: [ # c\n  {description: "gsm:model=x" // "d"\n  priority: 1}\n]\n\n',
    ],
)
def test_reads_what_hocon_allows(tmp_path: Path, text: str) -> None:
    (found,) = read(tmp_path, text)
    assert (found.description, found.priority, found.groups) == ("gsm:model=x", 1, ())


def test_reads_groups(tmp_path: Path) -> None:
    text = 'entries: [{description: "gsm:model=x", priority: 3, groups: ["a", b]}]'
    (found,) = read(tmp_path, text)
    assert (found.priority, found.groups) == (3, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no `entries: [...]`; is it a HELM conf file?"),
        ("entries: 3", "holds no `entries"),
        ("entries: [\n", ":2: expected a value, found the end of the file"),
        ('entries: [{description "gsm"}]', ":1: expected ':' after description"),
        ('entries: [{description: "gsm}]', ":1: a text that does not end in its line"),
        ("entries: [] ]", "expected a key, found ']'"),
        ("{entries: []", "expected a key or '}', found the end of the file"),
        ("{entries: []} x", "expected the end of the file, found 'x'"),
        ("entries: [{: 3}]", "expected a key or '}', found ':'"),
        ("entries: [{priority: ,}]", "expected a value, found ','"),
    ],
)
def test_tells_the_line_of_what_it_cannot_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "my.conf") in str(caught.value)


def test_tells_every_fault_of_every_entry(tmp_path: Path) -> None:
    text = (
        "entries: [\n"
        '{description: "gsmm:model=x", priority: 1}\n'
        '{description: "mmlu:model=x,subjct=law"}\n'
        '{descripton: "gsm:model=x"}\n'
        '{description: "gsm:model=x", priority: high}\n'
        '{description: "gsm:model=x", groups: a}\n'
        '"gsm"\n'
        '{description: "sam_sum:model=x,max_eval_instances=3"}\n'
        "]\n"
    )
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    file = tmp_path / "my.conf"
    found = [fault.replace(f"{file}:", "") for fault in caught.value.faults]
    assert found == [
        "2: HELM has no run spec 'gsmm'; did you mean gsm?",
        "3: mmlu takes no subjct; did you mean subject?; mmlu needs subject=…",
        "4: unknown key descripton; did you mean description?",
        "4: an entry without a description",
        "5: priority must be a whole number",
        "6: groups must be a list of names",
        '7: an entry is {description: "...", priority: 1}',
    ]


def test_names_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "sample.conf").write_text("")
    with pytest.raises(UserError, match=r"smaple\.conf: no such file; did you mean sample\?"):
        conf.read(tmp_path / "smaple.conf")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["gsm:model=x", "big_bench:task=a b,subtask=,model=y", 'bbq:subject=a"\\']
            ),
            st.integers(0, 9),
            st.lists(st.text("abc _-", min_size=1), max_size=2),
        ),
        max_size=4,
    )
)
def test_reads_what_it_renders(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[str, int, list[str]]]
) -> None:
    entries = [Entry(text, "", number, tuple(groups)) for text, number, groups in made]
    found = read(tmp_path_factory.mktemp("conf"), conf.render(entries))
    assert [(one.description, one.priority, one.groups) for one in found] == [
        (one.description, one.priority, one.groups) for one in entries
    ]
