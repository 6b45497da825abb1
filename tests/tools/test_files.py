"""Files: written whole or not at all, hashed as sha256sum does."""

import hashlib
from pathlib import Path

import pytest

from tools import files
from tools.files import file_digest, file_digests, read_json, whole_folder, write_text


def test_write_text_is_all_or_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "new\ud800")
    assert file.read_text() == "old"


def test_a_folder_is_whole_or_what_it_was(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "model"
    for text in ("old", "new"):
        with whole_folder(place) as made:
            made.mkdir()
            (made / "weights").write_text(text)
            assert not place.exists() or (place / "weights").read_text() == "old"
    with pytest.raises(OSError, match="full"), whole_folder(place) as made:
        made.mkdir()
        raise OSError("the disk is full")
    assert [path.name for path in place.parent.iterdir()] == ["model"]
    assert (place / "weights").read_text() == "new"


def test_read_json_of_nothing_useful(tmp_path: Path) -> None:
    (tmp_path / "half").write_text('{"a": [1,')
    assert read_json(tmp_path / "half") is None
    assert read_json(tmp_path / "absent") is None


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100])
def test_a_hash_is_of_all_blocks(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 8)
    content = bytes(range(size))
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_long_work_has_a_bar_over_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    quick = file_digests(paths, "hashing")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(files, "LONG", 6000)
    assert file_digests(paths, "hashing") == quick
    assert "hashing" in capsys.readouterr().err
