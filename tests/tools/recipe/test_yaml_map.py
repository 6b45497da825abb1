"""What a YAML text holds: as OmegaConf reads it, only sooner."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tools.recipe import yaml_map
from tools.recipe.compose import RECIPES

FILES = sorted(RECIPES.rglob("*.yaml"))
ODD = [
    "1e-4", "1E5", "+1.5e+3", "1_000", "1_0.5", ".5", ".5e-3", "-.inf", ".NaN", "0x1F", "0o17",
    "017", "0b11", "190:20:30", "1:20.5", "2026-11-30", "2026-11-30 10:00:00", "yes", "No", "on",
    "~", "null", "Null", "1.", "1.e3", "e5", "1e", "0.1e+", "--1", "12e03", "'1e-4'", '"a"', "a b",
]  # fmt: skip


def by_omegaconf(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(text))


def same(text: str) -> None:
    node = yaml_map.compose(text)
    assert node is not None and yaml_map.is_plain(node)
    # By repr: NaN equals nothing, and 1 equals 1.0 and True.
    assert repr(yaml_map.construct(node)) == repr(by_omegaconf(text))


@pytest.mark.parametrize("scalar", ODD)
def test_a_scalar_is_what_omegaconf_reads(scalar: str) -> None:
    same(f"key: {scalar}")
    same(f"key: [{scalar}]")


@given(st.text("0123456789.eE+-_:xob", min_size=1, max_size=8))
def test_numbers_are_what_omegaconf_reads(scalar: str) -> None:
    text = f"key:\n- {scalar}"
    try:
        node = yaml_map.compose(text)
    except yaml.YAMLError:
        return
    assert node is not None
    if yaml_map.is_plain(node):
        try:
            expected = by_omegaconf(text)
        except Exception as error:  # as 1:-, a number to YAML and none to Python
            with pytest.raises(type(error)):
                yaml_map.construct(node)
            return
        assert repr(yaml_map.construct(node)) == repr(expected)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(RECIPES).as_posix())
def test_our_own_files_are_what_omegaconf_reads(file: Path) -> None:
    assert yaml_map.read(file) == by_omegaconf(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    ["a: ${b}", "1: a", "yes: a", "? [a]\n: b", "<<: {a: 1}", "a: !!set {b}", "a: !!binary eA==",
     "a: [!!timestamp 2026-11-30]", "a: =", "~: a"],
)  # fmt: skip
def test_what_more_yaml_has_is_left_to_omegaconf(text: str) -> None:
    node = yaml_map.compose(text)
    assert node is not None and not yaml_map.is_plain(node)
