"""Faulty files: one message with file, row and field, exit code 2, nothing written."""

import gzip
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faulty_data.cases import CASES
from tests.tiny import recipe
from tools import __main__ as cli
from tools.check.rules.sanity import sources as sources_rule
from tools.data.prepare import prepare
from tools.errors import UserError
from tools.recipe.schema import Source
from tools.run.folder import Run

OWN = {"kind": "local", "licence": "MIT", "origin": "human"}


def written(folder: Path, path: str, source: dict[str, Any], data: dict[str, Any]) -> Path:
    """A recipe with this one source."""
    mine = {**OWN, "path": path, **source}
    section = {"validation_rows": 4, "test_rows": 4, **data, "sources": {"s": mine}}
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({"defaults": ["cpu", "debug/no-sources"], "data": section}))
    return file


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["oneday", *words])
    return cli.main()


def test_there_are_forty() -> None:
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_a_faulty_file_is_told_in_one_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    file = tmp_path / case.file
    file.write_bytes(case.content())
    own = written(tmp_path, str(file), case.source, case.data)
    code = called(monkeypatch, "data", "--recipe", str(own), "--runs", str(tmp_path / "runs"))
    out, err = capsys.readouterr()
    (fault,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and "Traceback" not in out + err
    assert fault.startswith("error: " + case.said.replace("FILE", str(file))), fault
    assert case.also in fault, fault
    assert "data.sources.s" in fault or "data.validation_rows" in fault
    assert not list((tmp_path / "runs").rglob("*.jsonl"))


# What check cannot see: it reads the first rows, and counts none.
LATER = (":51", ":52", "row 31", "row 50", "no row is left", "held out", "rows wanted")


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if not any(w in c.said for w in LATER)]
)
def test_check_says_so_of_the_first_rows(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    file = tmp_path / case.file
    file.write_bytes(case.content())
    source = Source("local", str(file), "MIT", "human", **case.source)
    found = list(sources_rule(recipe(data__sources={"s": source}), {}))
    said = f"{found[0].message}; {found[0].remedy}"
    assert len(found) == 1 and said.startswith(case.said.replace("FILE", str(file))), found


MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = st.sampled_from(
    ["s.jsonl", "s.json", "s.csv", "s.parquet", "s.txt", "s", "s.jsonl.gz", "s.csv.zst", "s.tsv"]
)
BITS = st.sampled_from(
    [
        b'{"prompt": "a", "completion": "b"}',
        b"\n",
        b"[",
        b"]",
        b",",
        b'"',
        b"{",
        b"}",
        b"\xff",
        b"\0",
        b"PAR1",
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"prompt,completion\n",
        b"a,b\n",
        b"\xef\xbb\xbf",
        b'{"messages": [',
        b'{"role": "user"}',
        b"NaN",
        b"\\ud800",
        b":",
        b"null",
        b"1e999",
        b"  ",
        b'{"Definition": ["x"], "Instances": [{"input": 3, "output": ["y"]}]}',
        b'{"text": "t"}',
        b'{"question": "q", "choices": ["a", "b"], "answer": 7}',
        b'{"message_id": 1, "parent_id": 2,',
    ]
)
BYTES = st.lists(BITS | st.binary(max_size=12), max_size=14).map(b"".join)


def attempt(folder: Path, name: str, content: bytes, **source: Any) -> None:
    """Whatever is in a file: rows or faults, never another exception, from both verbs."""
    file = folder / name
    file.write_bytes(content)
    one = Source("local", str(file), "MIT", "human", **source)
    made = recipe(data__sources={"s": one}, data__validation_rows=1, data__test_rows=0)
    assert all(fault.message for fault in sources_rule(made, {}))
    try:
        prepare(Run(made, folder / "runs"))
    except UserError as error:
        assert error.faults and all(error.faults)


@MANY
@given(name=NAMES, content=BYTES)
def test_no_bytes_end_in_a_traceback(name: str, content: bytes, tmp_path: Path) -> None:
    attempt(tmp_path, name, content)


@MANY
@given(
    name=st.sampled_from(sorted(CASES)),
    seed=st.integers(0, 2**32),
    shape=st.sampled_from(
        ["", "pairs", "messages", "turns", "text", "tree", "mcq", "ni_task", "quac"]
    ),
)
def test_no_damage_ends_in_a_traceback(name: str, seed: int, shape: str, tmp_path: Path) -> None:
    """Files that were good once: bytes changed, cut out, put in; read in any shape."""
    case, rng = CASES[name], random.Random(seed)
    if "10 MB" in name or "nested" in name:
        case = CASES["null"]
    content = bytearray(case.content())
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(content) + 1)
        content[at : at + rng.choice((0, 1, 1, 9))] = rng.randbytes(rng.choice((0, 1, 3)))
    attempt(tmp_path, case.file, bytes(content), shape=shape)


@MANY
@given(content=BYTES, zstd=st.booleans())
def test_no_packed_bytes_end_in_a_traceback(content: bytes, zstd: bool, tmp_path: Path) -> None:
    packed = zstandard.compress(content) if zstd else gzip.compress(content)
    attempt(tmp_path, "s.jsonl.gz", packed[: len(packed) - len(content) % 3])


@MANY
@given(
    prompt=st.text(max_size=12) | st.sampled_from(["{a", "{a[", "{a[]}", "{a!r}", "{a:>9}", "{0}"])
)
def test_no_template_ends_in_a_traceback(prompt: str, tmp_path: Path) -> None:
    attempt(tmp_path, "s.jsonl", b'{"a": [1], "0": "x"}\n' * 3, prompt=prompt, completion=" {a?}")
