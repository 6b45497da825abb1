"""Environments beside the main one are found, or it is said what installs them."""

from pathlib import Path

import pytest

from tools.environments import Environment
from tools.errors import UserError

SITE = Path("lib/python3.12/site-packages")


@pytest.mark.parametrize("mark", ["engine.py", "engine/__init__.py", "engine/deep/file"])
def test_it_is_there_once_its_mark_is(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Environment("an engine", "toy", mark)
    monkeypatch.setenv("ONEDAY_TOY_VENV", str(tmp_path))
    (tmp_path / SITE).mkdir(parents=True)
    assert there.packages() is None
    for call in (there.needed, there.python):
        with pytest.raises(UserError) as caught:
            call()
        said = f"an engine is not installed in {tmp_path}; install it with: make toy"
        assert str(caught.value) == said
    (tmp_path / SITE / mark).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / SITE / mark).touch()
    assert there.packages() == there.needed() == tmp_path / SITE
    assert there.python() == str(tmp_path / "bin" / "python")


def test_it_lies_beside_the_main_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDAY_TOY_VENV", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Environment("an engine", "toy", "x").folder() == tmp_path / ".venv-toy"
