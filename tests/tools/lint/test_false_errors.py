"""Paths, folders, variables, COPY and scripts: what stops a build, and what only looks so."""

from pathlib import Path

import pytest

from tools.lint.linter import lint
from tools.lint.rules import hadolint

PYTHON = "FROM python:3.11.9@sha256:" + "9f0e3c1a" * 8
TORCH = "FROM pytorch/pytorch:2.1.0-cuda11.8-cudnn8-runtime@sha256:" + "9f0e3c1a" * 8
OTHER = "FROM example/server:1.0@sha256:" + "9f0e3c1a" * 8
START = 'CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "80"]'
HOME = "/" + "root"
ROUTES = """
import uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.post("/process")
@app.post("/tokenize")
@app.post("/decode")
def answer(body: dict) -> dict: return {}
if __name__ == "__main__": uvicorn.run(app, host="0.0.0.0", port=PORT)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))
    root = tmp_path / "day"
    root.mkdir()
    (root / "main.py").write_text(ROUTES.replace("PORT", "80"))
    (root / "requirements.txt").write_text("fastapi==0.110.0\nuvicorn==0.29.0\n")
    return root


def said(root: Path, *lines: str) -> list[tuple[str, str]]:
    (root / "Dockerfile").write_text("\n".join(lines) + "\n")
    return [(one.rule, one.severity) for one in lint(root)]


@pytest.mark.parametrize(
    "lines",
    [
        ["COPY . .", f'CMD ["python", "{HOME}/main.py"]'],
        [
            "RUN git clone https://github.com/a/lit-gpt && cd lit-gpt && git checkout 0123456",
            f"RUN pip install -r {HOME}/lit-gpt/requirements.txt",
            "COPY . .",
            START,
        ],
    ],
)
def test_a_home_that_the_image_has(folder: Path, lines: list[str]) -> None:
    assert said(folder, PYTHON, f"WORKDIR {HOME}", *lines) == []


def test_a_home_path_of_a_download(folder: Path) -> None:
    fetch = f"RUN curl -Lo {HOME}/mc.sh https://example.org/mc-1.0.sh && bash {HOME}/mc.sh -b"
    lines = [PYTHON, "WORKDIR /app", "COPY . .", fetch]
    assert said(folder, *lines, START) == []
    other = f"ENV WEIGHTS={HOME}/lora"
    assert said(folder, *lines, other, START) == [("home-path", "error")]


@pytest.mark.parametrize(("port", "rules"), [("80", []), ("8000", [("wrong-port", "error")])])
def test_the_folder_of_a_known_base_image(
    folder: Path, port: str, rules: list[tuple[str, str]]
) -> None:
    (folder / "main.py").write_text(ROUTES.replace("PORT", port))
    install = "RUN pip install -r requirements.txt"
    lines = ["COPY . /workspace", install, 'CMD ["python", "main.py"]']
    assert said(folder, TORCH, *lines) == rules


def test_the_folder_of_an_unknown_base_image(folder: Path) -> None:
    lines = ["COPY . /srv/app", 'CMD ["python", "main.py"]']
    assert said(folder, OTHER, *lines) == []
    assert said(folder, PYTHON, *lines) == [("missing-program", "error")]


REQUIRED = [("required-argument", "error")]


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (["ARG BUILD_DATE", "LABEL created=$BUILD_DATE"], []),
        (["ARG KEY", 'RUN if [ -n "$KEY" ]; then echo "$KEY" > k; fi'], []),
        (["ARG KEY", 'RUN if [ -z "$KEY" ]; then echo no key; exit 1; fi; echo "$KEY"'], REQUIRED),
        (["ARG KEY", 'RUN if [ -n "$KEY" ]; then ls; fi', 'RUN echo "$KEY"'], REQUIRED),
        (["ARG KEY", 'RUN : "${KEY:=a}" && echo "$KEY"'], []),
    ],
)
def test_arguments_that_nobody_needs(
    folder: Path, lines: list[str], rules: list[tuple[str, str]]
) -> None:
    assert said(folder, PYTHON, "WORKDIR /app", "COPY . .", *lines, START) == rules


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (': "${PORT:=80}"\nexec uvicorn main:app --host 0.0.0.0 --port "$PORT"\n', []),
        (
            'if [ -n "${KEY:-}" ]; then echo "$KEY"; fi\n'
            "exec uvicorn main:app --host 0.0.0.0 --port 80\n",
            [],
        ),
        (
            'echo "$KEY"\nexec uvicorn main:app --host 0.0.0.0 --port 80\n',
            [("unresolved-variable", "error")],
        ),
        (
            "exec uvicorn main:app --host 0.0.0.0 --port 80\r\n",
            [("windows-line-ends", "error")],
        ),
    ],
)
def test_start_scripts(folder: Path, text: str, rules: list[tuple[str, str]]) -> None:
    (folder / "start.sh").write_bytes(text.encode())
    lines = ["WORKDIR /app", "COPY . .", 'CMD ["bash", "start.sh"]']
    assert said(folder, PYTHON, *lines) == rules


@pytest.mark.parametrize(
    ("copy", "rules"),
    [
        ("COPY requirements.txt poetry.lock* ./", []),
        ("COPY *.lock ./", [("missing-source", "warning")]),
        ("COPY requirements.txt poetry.lock ./", [("missing-source", "error")]),
        ('COPY "my file.py" ./', [("missing-source", "error")]),
        ("COPY my\\ file.py ./", [("missing-source", "error")]),
        ('COPY "requirements.txt" ./', []),
    ],
)
def test_sources(folder: Path, copy: str, rules: list[tuple[str, str]]) -> None:
    assert said(folder, PYTHON, "WORKDIR /app", "COPY main.py .", copy, START) == rules


@pytest.mark.parametrize(
    ("text", "run", "rules"),
    [
        ("#!/bin/sh\nls\n", "RUN ./setup.sh", [("not-executable", "error")]),
        ("#!/bin/sh\nls\n", "RUN chmod +x setup.sh && ./setup.sh", []),
        ("#!/bin/sh\nls\n", "RUN find . -exec chmod +x {} + && ./setup.sh", []),
        ("ls\n", "RUN bash setup.sh", []),
        ("ls -l\r\nls\r\n", "RUN bash setup.sh", [("windows-line-ends", "error")]),
    ],
)
def test_scripts_of_the_build(
    folder: Path, text: str, run: str, rules: list[tuple[str, str]]
) -> None:
    (folder / "setup.sh").write_bytes(text.encode())
    (folder / "setup.sh").chmod(0o644)
    assert said(folder, PYTHON, "WORKDIR /app", "COPY . .", run, START) == rules
