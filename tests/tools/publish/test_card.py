"""The lines of a card that load a model run as they stand, whatever kind it is."""

import runpy
from pathlib import Path

import pytest

from tests import kin
from tests.tiny import recipe
from tools.publish import card


@pytest.mark.parametrize(("family", "kind"), [("t5", "seq2seq"), ("bert", "encoder")])
def test_how_to_load(
    family: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = kin.folder(family, tmp_path / "model")
    text = next(iter(card._loading(recipe(model__kind=kind), str(place))))
    script = tmp_path / "load.py"
    script.write_text(text.split("```python\n")[1].split("```")[0])
    runpy.run_path(str(script))
    assert capsys.readouterr().out.endswith("\n")
