"""Broken submissions, each with exactly what must be said; and good ones, of which nothing."""

import json
from pathlib import Path

import pytest

from tools.lint.catalogue import RULES
from tools.lint.linter import lint
from tools.lint.rules import hadolint

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
FAULTY = sorted(path for path in (SUBMISSIONS / "faulty").iterdir() if path.is_dir())
GOOD = sorted(path for path in (SUBMISSIONS / "good").glob("*") if path.is_dir())
# Shown in test_lint.py: they need a long file, an odd name, or hadolint.
ELSEWHERE = {
    "file-too-large", "folder-too-large", "unsafe-name", "unsafe-path", "hadolint", "bad-digest",
    "ignored-command",
}  # fmt: skip

Place = tuple[str, str, int]


@pytest.fixture(autouse=True)
def no_hadolint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says depends on whether it is installed, and on its version."""
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))


def expected(folder: Path) -> set[Place]:
    listed = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return {(one["rule"], one["file"], one["line"]) for one in listed}


def test_the_corpus_is_large_and_shows_every_rule() -> None:
    assert len(FAULTY) >= 100
    shown = {rule for folder in FAULTY for rule, _, _ in expected(folder)}
    assert shown | ELSEWHERE == set(RULES)


@pytest.mark.parametrize("folder", FAULTY, ids=lambda path: path.name)
def test_a_faulty_submission_is_told_exactly_what_is_wrong(folder: Path) -> None:
    found = lint(folder)
    assert {(one.rule, one.file, one.line) for one in found} == expected(folder), found


@pytest.mark.parametrize("folder", GOOD, ids=lambda path: path.name)
def test_a_good_submission_is_told_nothing(folder: Path) -> None:
    assert lint(folder) == []
