"""A file in parts: whole lines, each in one part, with the number that it has in the file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.data.reading import formats, json_rows, parts
from tools.data.reading.fault import Fault


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda one: one.replace(b"\n", b"")), max_size=30),
    size=st.integers(1, 40),
    ended=st.booleans(),
)
def test_every_line_is_in_one_part(
    lines: list[bytes], size: int, ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parts") / "file"
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path.write_bytes(data)
    found = parts.cut(path, size)
    read = []
    for part in found:
        with parts.opened(path, part) as stream:
            read.append(stream.read())
        assert part.before == data[: part.start].count(b"\n")
        assert len(read[-1]) >= size or part is found[-1]
        assert read[-1].endswith(b"\n") or part is found[-1]
    assert b"".join(read) == data


def test_a_fault_in_a_part_has_its_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n\n{"a": 3}\nnone\n')
    (first, second) = parts.cut(path, 20)
    assert [number for number, _ in formats.records(_file(path, first), "w")] == [1, 2, 4]
    with pytest.raises(Fault) as caught:
        list(formats.records(_file(path, second), "w"))
    assert caught.value.number == 5


def _file(path: Path, part: parts.Part) -> formats.File:
    return formats.File(path, "JSONL", part=part)


def test_a_line_longer_than_a_row_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "' + b"x" * 600_000 + b'"}\n{"a": 2}\n')
    assert [part.before for part in parts.cut(path, 100)] == [0, 1]
    monkeypatch.setattr(json_rows, "LONGEST", 1000)
    with pytest.raises(Fault, match="no row"):
        list(formats.records(_file(path, parts.cut(path, 100)[0]), "w"))
