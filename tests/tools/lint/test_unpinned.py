"""Versions that move: branches, projects without a lock, sync; and what holds them."""

from pathlib import Path

import pytest

from tools.lint.linter import lint
from tools.lint.rules import hadolint

PYTHON = "FROM python:3.11.9-slim@sha256:" + "9f0e3c1a" * 8
SHA = "0123456789abcdef0123456789abcdef01234567"
GITHUB = "https://github.com/x/y"
MODEL = "mistralai/Mistral-7B-v0.1"
LOADS = f'from transformers import AutoModel\nAutoModel.from_pretrained("{MODEL}", revision='


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder."""
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))
    made = tmp_path / "day"
    made.mkdir()
    return made


def told(root: Path, *lines: str, **files: str) -> list[str]:
    """What is told of versions and tokens in a folder of these Dockerfile lines and files."""
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    (root / "Dockerfile").write_text("\n".join([PYTHON, "WORKDIR /app", *lines]) + "\n")
    rules = ("unpinned", "needs-token")
    return [one.message for one in lint(root) if one.rule.startswith(rules)]


@pytest.mark.parametrize(
    "archive",
    ["archive/main.zip", "archive/refs/heads/next.tar.gz", "tarball/master", "zipball/main"],
)
def test_an_archive_of_a_branch_moves(root: Path, archive: str) -> None:
    (said,) = told(root, f"RUN pip install {GITHUB}/{archive}")
    assert said == f"github.com/x/y/{archive} is what the branch holds that day"
    (said,) = told(root, "COPY r.txt .", "RUN pip install -r r.txt", r__txt=f"{GITHUB}/{archive}\n")
    assert "the branch" in said


@pytest.mark.parametrize(
    "archive", [f"archive/{SHA}.zip", "archive/refs/tags/v1.0.zip", "archive/v1.0.tar.gz",
                "archive/mainline-2.zip", "releases/download/v1/y-1-py3-none-any.whl"]
)  # fmt: skip
def test_an_archive_of_a_commit_or_a_tag_does_not(root: Path, archive: str) -> None:
    assert told(root, f"RUN pip install {GITHUB}/{archive}") == []


SETUP = 'from setuptools import setup\nNEEDS = ["torch>=2"]\nsetup(name="a", install_requires='


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("setup__py", SETUP + '["torch>=2"])\n', 2),
        ("setup__py", SETUP + "NEEDS)\n", 2),
        ("setup__cfg", "[options]\ninstall_requires =\n    torch>=2\n", 3),
        ("pyproject__toml", '[project]\nname = "a"\ndependencies = ["torch>=2"]\n', 3),
    ],
)
def test_a_project_without_a_lock(root: Path, file: str, text: str, line: int) -> None:
    lines = ["COPY . .", "RUN pip install -e ."]
    assert told(root, *lines, **{file: text}) == ["torch>=2 allows several versions"]
    found = [one for one in lint(root) if one.rule == "unpinned-requirement"]
    assert [(one.file, one.line) for one in found] == [(file.replace("__", "."), line)]
    before = ["RUN pip install torch==2.3.1"]
    assert told(root, *before, *lines, **{file: text}) == []
    assert told(root, "COPY . .", "RUN pip install --no-deps .", **{file: text}) == []


@pytest.mark.parametrize("text", [SETUP + "read())\n", "setup(", "[options\n", "x = \x00"])
def test_a_project_that_cannot_be_read_tells_nothing(root: Path, text: str) -> None:
    lines = ["COPY . .", "RUN pip install ."]
    assert told(root, *lines, setup__py=text, setup__cfg=text, pyproject__toml=text) == []


@pytest.mark.parametrize("sync", ["uv pip sync --system", "pip-sync"])
def test_sync_takes_requirement_files(root: Path, sync: str) -> None:
    lines = ["COPY lock.txt .", f"RUN {sync} lock.txt"]
    assert told(root, *lines, lock__txt="torch==2.3.1\n") == []
    assert told(root, *lines, lock__txt="torch\n") == ["torch has no version"]


def test_a_branch_is_no_revision(root: Path) -> None:
    lines = ["COPY main.py .", 'CMD ["python", "main.py"]']
    (said,) = told(root, *lines, main__py=f'{LOADS}"main")\n')
    assert said == f"AutoModel.from_pretrained of {MODEL} names the branch main"
    for revision in (f'"{SHA}"', '"v1.0"', "REVISION"):
        assert told(root, *lines, main__py=f"{LOADS}{revision})\n") == []
    download = f"RUN huggingface-cli download {MODEL} --revision"
    assert told(root, f"{download} main")[-1].endswith("names the branch main")
    assert not [one for one in told(root, f"{download} {SHA}") if "download" in one]


LOGIN = "huggingface-cli login --token $HF_TOKEN"


@pytest.mark.parametrize(
    "run",
    [
        f'if [ -n "$HF_TOKEN" ]; then {LOGIN}; fi',
        f'if [ -z "$HF_TOKEN" ]; then echo public; else {LOGIN}; fi',
        f'[ -z "$HF_TOKEN" ] || {LOGIN}',
    ],
)
def test_a_login_only_where_there_is_a_token(root: Path, run: str) -> None:
    assert told(root, 'ARG HF_TOKEN=""', f"RUN {run}") == []


@pytest.mark.parametrize(
    "run", [LOGIN, f'if [ -z "$HF_TOKEN" ]; then exit 1; fi; {LOGIN}',
            f'if [ -n "$DEBUG" ]; then set -x; fi; {LOGIN}']
)  # fmt: skip
def test_a_login_that_is_always_tried(root: Path, run: str) -> None:
    assert told(root, 'ARG HF_TOKEN=""', f"RUN {run}") == ["huggingface-cli login needs a token"]


def test_the_latest_installer_moves(root: Path) -> None:
    conda = "RUN curl -O https://repo.anaconda.com/miniconda/Miniconda3-"
    assert told(root, f"{conda}latest-Linux-x86_64.sh")[0].endswith("is what is there that day")
    assert told(root, f"{conda}py311_24.1.2-0-Linux-x86_64.sh") == []


@pytest.mark.parametrize(
    ("file", "text"),
    [("kaggle.json", '{"username":"joe","key":"HEX"}'), ("run.sh", "export KAGGLE_KEY=HEX")],
)
def test_kaggles_key_is_a_secret(root: Path, file: str, text: str) -> None:
    digits = "0123456789abcdef" * 2
    told(root, **{file.replace(".", "__"): text.replace("HEX", digits)})
    assert [one.message for one in lint(root) if one.rule == "secret"] == [
        "a secret stands here: Kaggle key"
    ]
    told(root, **{file.replace(".", "__"): text.replace("HEX", "your-key-here")})
    assert not [one for one in lint(root) if one.rule == "secret"]
