"""What is printed as the next command is that command, whatever the values hold."""

import argparse
import shlex
from typing import Any

import pytest

from tools.arguments import same

PLAIN = {"recipe": "", "hw": "cpu", "set": [], "runs": "runs"}


def args(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**PLAIN, **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["HW=cpu"]),
        ({"runs": "my runs"}, ["HW=cpu", "RUNS=my runs"]),
        ({"recipe": "a b.yaml", "force": True}, ["RECIPE=a b.yaml", "FORCE=1"]),
        ({"set": ["a=1", "b='x y'"]}, ["HW=cpu", "SET=a=1 b='x y'"]),
    ],
)
def test_a_shell_reads_what_was_said(values: dict[str, Any], words: list[str]) -> None:
    assert shlex.split(same(args(**values))) == words


def test_sets_stand_in_double_quotes() -> None:
    assert same(args(set=["train.lora_r=8"])) == ' HW=cpu SET="train.lora_r=8"'
