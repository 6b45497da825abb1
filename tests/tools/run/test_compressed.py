"""Formats of llm-compressor: what a recipe leaves open, the package, what decides their bytes."""

import re
from pathlib import Path

import pytest

from tests.tiny import make_run, recipe
from tools.recipe.written import settled
from tools.run import compressed

ROOT = Path(__file__).resolve().parents[3]


def test_the_version_is_the_locks() -> None:
    asked = (ROOT / "requirements" / "compress.in").read_text(encoding="utf-8")
    assert re.findall(r"^llmcompressor==(\S+)$", asked, re.MULTILINE) == [compressed.VERSION]
    locked = (ROOT / "requirements" / "hashed" / "compress.txt").read_text(encoding="utf-8")
    assert f"llmcompressor=={compressed.VERSION} " in locked


@pytest.mark.parametrize(
    ("form", "values", "found"),
    [
        ("w4a16", {}, ("gptq", True, 128)),
        ("w4a16", {"modifier": "rtn", "group_size": 32}, ("rtn", False, 32)),
        ("w8a16", {"group_size": -1}, ("rtn", False, -1)),
        ("w8a8", {}, ("gptq", True, 0)),
        ("w8a8", {"modifier": "rtn", "smoothing_strength": 0.8}, ("rtn", True, 0)),
        ("fp8", {}, ("rtn", False, 0)),
    ],
)
def test_what_a_recipe_leaves_open(
    form: str, values: dict[str, object], found: tuple[str, bool, int]
) -> None:
    keys = {f"quantize__{key}": value for key, value in values.items()}
    wanted = recipe(quantize__format=form, **keys).quantize
    assert (
        compressed.modifier_of(wanted),
        compressed.calibrates(wanted),
        compressed.group_of(wanted),
    ) == found


def test_the_package_is_found_in_its_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDAY_COMPRESS_VENV", str(tmp_path))
    assert compressed.ENVIRONMENT.packages() is None
    place = tmp_path / "lib" / "python3.12" / "site-packages"
    (place / "llmcompressor-0.1.dist-info").mkdir(parents=True)
    assert compressed.ENVIRONMENT.packages() is None
    (place / f"llmcompressor-{compressed.VERSION}.dist-info").mkdir()
    assert compressed.ENVIRONMENT.packages() == place


def test_a_run_of_before_is_still_done(tmp_path: Path) -> None:
    """Of nf4 nothing is new, neither in the recipe as it counts nor among the versions."""
    run = make_run(tmp_path, quantize__format="nf4")
    assert settled(run.recipe)["quantize"] == {
        "format": "nf4",
        "max_perplexity_ratio": 1.3,
        "perplexity_rows": 4,
    }
    assert not {"llmcompressor", "compressed-tensors"} & set(run.inputs("quantize")["versions"])
    other = make_run(tmp_path, quantize__format="w4a16", quantize__group_size=32)
    assert settled(other.recipe)["quantize"]["group_size"] == 32
    assert other.inputs("quantize")["versions"]["llmcompressor"] == compressed.VERSION
