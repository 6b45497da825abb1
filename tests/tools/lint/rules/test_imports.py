"""Packages that the server imports and nothing installs; silent where it cannot be certain."""

from pathlib import Path

import pytest

from tools.lint.linter import lint

IMAGE = f"python:3.11.9-slim@sha256:{'9f0e3c1a' * 8}"


def told(
    root: Path, code: str, install: str = "fastapi==0.110.0", image: str = IMAGE, *more: str
) -> list[str]:
    root.mkdir(exist_ok=True)
    (root / "main.py").write_text(f"from fastapi import FastAPI\n{code}\napp = FastAPI()\n")
    lines = [f"FROM {image}", *more, f"RUN pip install {install}", "COPY main.py .",
             'CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "80"]']  # fmt: skip
    (root / "Dockerfile").write_text("\n".join(lines) + "\n")
    return [one.message for one in lint(root) if one.rule == "missing-package"]


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("import torch", "torch"),
        ("from transformers import pipeline", "transformers"),
        ("import yaml", "pyyaml"),
        ("import google.protobuf", "protobuf"),
        ("import os, peft", "peft"),
    ],
)
def test_an_import_of_what_nothing_installs(tmp_path: Path, code: str, package: str) -> None:
    (said,) = told(tmp_path / "day", code)
    assert said.endswith(f"nothing installs {package}")


@pytest.mark.parametrize(
    ("code", "install"),
    [
        ("import starlette, pydantic", "fastapi==0.110.0"),  # needed by it
        ("import torch, numpy", "fastapi==0.110.0 peft==0.11.0"),
        ("import torch", "fastapi==0.110.0 some-engine==1.0"),  # who knows what it needs
        ("import torch", "'fastapi[all]==0.110.0'"),
        ("import torch", "fastapi==0.110.0 git+https://github.com/a/b@0123456789"),
        ("import oddity", "fastapi==0.110.0"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "fastapi==0.110.0"),
        ("def late():\n    import torch", "fastapi==0.110.0"),
    ],
)
def test_what_may_well_be_there(tmp_path: Path, code: str, install: str) -> None:
    assert told(tmp_path / "day", code, install) == []


def test_an_image_that_may_bring_it(tmp_path: Path) -> None:
    other = f"pytorch/pytorch:2.3.0@sha256:{'9f0e3c1a' * 8}"
    assert told(tmp_path / "day", "import torch", image=other) == []
    apt = "RUN apt-get update && apt-get install -y python3-torch"
    assert told(tmp_path / "apt", "import torch", "fastapi==0.110.0", IMAGE, apt) == []


def test_a_file_of_its_own_by_that_name(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "yaml.py").write_text("x = 1\n")
    assert told(tmp_path / "day", "import yaml", "fastapi==0.110.0", IMAGE, "COPY yaml.py .") == []
