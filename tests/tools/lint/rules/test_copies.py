"""What the server imports or loads, and nothing put into the image."""

from pathlib import Path

import pytest

from tools.lint.linter import lint
from tools.lint.rules import hadolint

PYTHON = "FROM python:3.11.9-slim@sha256:" + "9f0e3c1a" * 8


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package of two modules."""
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))
    made = tmp_path / "day"
    (made / "app").mkdir(parents=True)
    (made / "app" / "__init__.py").touch()
    (made / "app" / "model.py").touch()
    return made


def missing(root: Path, code: str, *copies: str) -> list[str]:
    """The missing modules that are told of when app/main.py of this code is started."""
    (root / "app" / "main.py").write_text(code + "\n")
    start = 'CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "80"]'
    (root / "Dockerfile").write_text("\n".join([PYTHON, "WORKDIR /app", *copies, start]) + "\n")
    return [one.message for one in lint(root) if one.rule == "missing-module"]


IMPORTS = ["from app.model import m", "import app.model", "from app import model",
           "from .model import m"]  # fmt: skip


@pytest.mark.parametrize("code", IMPORTS)
def test_a_module_of_the_package_that_was_left_behind(root: Path, code: str) -> None:
    (said,) = missing(root, code, "COPY app/main.py app/main.py")
    assert said.endswith("and app/model.py is not copied")


@pytest.mark.parametrize("code", IMPORTS)
@pytest.mark.parametrize("copy", ["COPY . .", "COPY app app", "COPY app/*.py app/"])
def test_a_package_that_was_copied(root: Path, code: str, copy: str) -> None:
    assert missing(root, code, copy) == []


def test_one_import_is_told_once(root: Path) -> None:
    twice = "from app.model import m\nfrom app.model import n\nimport app.model"
    assert len(missing(root, twice, "COPY app/main.py app/main.py")) == 1


@pytest.mark.parametrize("install", ["peft==0.5.0", "-r requirements.txt"])
def test_what_pip_brings_need_not_be_copied(root: Path, install: str) -> None:
    (root / "requirements.txt").write_text("peft==0.5.0\n")
    (root / "app" / "peft").mkdir()  # patched for training, left out of the image
    (root / "app" / "peft" / "__init__.py").touch()
    copies = ["COPY app/main.py app/main.py", "COPY requirements.txt ."]
    assert missing(root, "import peft", *copies, f"RUN pip install {install}") == []
    assert len(missing(root, "import peft", *copies)) == 1


LOADS = 'AutoModel.from_pretrained("/app/checkpoints/best")'


def loads(root: Path, *lines: str) -> list[str]:
    """The folders that nothing fills, told of when app/main.py loads a model from one."""
    code = f"from transformers import AutoModel\n{LOADS}\n"
    (root / "app" / "main.py").write_text(code)
    start = 'CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "80"]'
    copied = [PYTHON, "WORKDIR /app", "COPY app /app/app", *lines, start]
    (root / "Dockerfile").write_text("\n".join(copied) + "\n")
    return [one.rule for one in lint(root) if one.rule == "missing-artifact"]


@pytest.mark.parametrize(
    "lines", [[], ["RUN mkdir -p checkpoints && pip install torch==2.1.0"], ["RUN useradd best"]]
)
def test_a_model_s_folder_that_is_only_made(root: Path, lines: list[str]) -> None:
    assert loads(root, *lines) == ["missing-artifact"]


@pytest.mark.parametrize(
    "line",
    [
        "RUN git clone https://github.com/a/b /app/b && cd b && git checkout 0123456",
        "RUN mkdir -p checkpoints && wget -P checkpoints https://a.org/best.zip",
        "COPY --from=example/models:1.0 /models /app",
        "ADD https://a.org/all.tar.gz /app/",
        "COPY checkpoints checkpoints",
        "RUN python app/fetch.py",
    ],
)
def test_a_model_s_folder_that_may_be_filled(root: Path, line: str) -> None:
    (root / "checkpoints" / "best").mkdir(parents=True)
    (root / "checkpoints" / "best" / "config.json").write_text("{}")
    assert loads(root, line) == []
