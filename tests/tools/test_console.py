"""What is printed: a package's harmless lines are not, all others are."""

import logging
import os
import subprocess
import sys

import pytest

from tools import console
from tools.recipe.compose import RECIPES


@pytest.mark.parametrize(
    ("name", "harmless"),
    [
        ("torch.utils._pytree", "<class 'X'> is an Enum subclass and is now natively supported by"),
        ("torchao", "Skipping import of cpp extensions due to incompatible torch version."),
        (
            "bitsandbytes.backends.cpu.ops",
            "Failed to load CPU gemm_4bit_forward from kernels-community: offline",
        ),
    ],
)
def test_exactly_those_lines_are_silent(
    name: str, harmless: str, caplog: pytest.LogCaptureFixture
) -> None:
    console.settle()
    logging.getLogger(name).warning(harmless)
    logging.getLogger(name).warning("a real fault")
    assert [record.getMessage() for record in caplog.records] == ["a real fault"]
    logging.getLogger(f"{name}.other").warning(harmless)
    assert len(caplog.records) == 2


def test_the_environment_is_settled_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in console.QUIET:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")  # a user's own stays
    console.settle()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE" and os.environ["DO_NOT_TRACK"] == "0"


def test_the_verbs_begin_with_it() -> None:
    code = (
        "import os, sys; sys.argv = ['oneday', 'show']; from tools.__main__ import main;"
        "sys.stdout = open(os.devnull, 'w'); main();"
        "sys.exit(os.environ.get('OMP_WAIT_POLICY') != 'PASSIVE' or 'torch' in sys.modules)"
    )
    env = {key: value for key, value in os.environ.items() if key not in console.QUIET}
    done = subprocess.run([sys.executable, "-c", code], cwd=RECIPES.parent, env=env, check=False)
    assert done.returncode == 0
