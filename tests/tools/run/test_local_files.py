"""Which files a source names, and what is said where there is none."""

from pathlib import Path

import pytest

from tests.tiny import jsonl, recipe
from tools.recipe.schema import Source
from tools.recipe.written import settled
from tools.run.folder import Run
from tools.run.local_files import local_files, missing


def source(path: object, **keys: list[str]) -> Source:
    return Source("local", str(path), "MIT", "human", **keys)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.csv.gz", "deep/c.parquet", "README.md", ".hidden.jsonl", "x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def names(one: Source, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in local_files(one)]


def test_a_file_a_folder_a_glob_and_names_below_a_folder(folder: Path) -> None:
    assert names(source(folder / "x.py"), folder) == ["x.py"]
    assert names(source(folder), folder) == ["a.csv.gz", "b.jsonl", "deep/c.parquet"]
    assert names(source(folder / "*.jsonl"), folder) == ["b.jsonl"]
    assert names(source(folder / "**/*.parquet"), folder) == ["deep/c.parquet"]
    assert names(source(folder, files=["b.jsonl", "deep/*"]), folder) == [
        "b.jsonl",
        "deep/c.parquet",
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "no file is named"),
        ("b.jsnl", "did you mean b.jsonl?"),
        ("*.json", "no file matches"),
        ("deep/empty", "no file "),
        ("\0", "no file "),
        ("a" * 5000, "no file "),
    ],
)
def test_what_is_missing_is_said(path: str, said: str, folder: Path) -> None:
    one = source(folder / path if path else "")
    assert not local_files(one)
    assert said in missing(one)


def test_an_edited_file_is_seen_wherever_it_lies(folder: Path) -> None:
    def print_of(one: Source) -> str:
        return Run(recipe(data__sources={"s": one}), folder).fingerprint("data")

    whole, one = source(folder), jsonl(folder / "b.jsonl")
    before = print_of(whole), print_of(one)
    (folder / "deep/c.parquet").write_text("other")
    assert print_of(whole) != before[0] and print_of(one) == before[1]
    hub = Source("hub", str(folder), "MIT", "human")
    was = print_of(hub)
    (folder / "b.jsonl").write_text("other")
    assert print_of(one) != before[1] and print_of(hub) != was


def test_newer_keys_that_say_nothing_are_in_no_fingerprint() -> None:
    old = {"kind", "path", "licence", "origin", "rows", "prompt", "completion", "subset", "split"}
    values = settled(recipe())["data"]
    assert set(values["sources"]["counting"]) == old | {"revision"}
    assert "held_out_share" not in values
    assert settled(recipe(data__held_out_share=0.2))["data"]["held_out_share"] == 0.2
