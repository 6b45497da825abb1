"""Runs whose merged model is a tiny one with an encoder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import kin
from tests.tiny import make_run
from tools.data.prepare import prepare
from tools.run.folder import Run


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., Run]:
    """Makes one of a family, its data there, in a path with a space."""

    def make(family: str, **values: Any) -> Run:
        base = kin.folder(family, tmp_path / family)
        specials = kin.backend(family)[1]
        kind = "seq2seq" if family in kin.SEQ2SEQ else "encoder"
        keys = {"path": str(base), "kind": kind, "eos": specials[1], "pad": specials[0]}
        named = {f"model__{name}": value for name, value in keys.items()}
        run = make_run(
            tmp_path / "my runs", **named, model__context=512, serve__threads=1, **values
        )
        prepare(run)
        with run.produce("merge") as work:
            shutil.copytree(base, work.folder, dirs_exist_ok=True)
        return run

    return make
