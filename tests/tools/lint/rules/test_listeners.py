"""Addresses and ports, as far as text tells."""

from pathlib import Path

import pytest

from tools.lint.reading.dockerfile import parse
from tools.lint.reading.folder import Folder
from tools.lint.reading.submission import Submission
from tools.lint.rules.listeners import listeners

FLASK = "from flask import Flask\napp = Flask(__name__)\n"


def found(root: Path, start: str, code: str = "") -> list[tuple[str | None, int | None]]:
    (root / "main.py").write_text(code)
    text = f"FROM a:1\nWORKDIR /app\nCOPY main.py .\n{start}\n"
    submission = Submission.of(Folder.read(root), parse(text))
    return [(one.host, one.port) for one in listeners(submission)]


@pytest.mark.parametrize(
    ("start", "place"),
    [
        ("CMD uvicorn main:app", ("127.0.0.1", 8000)),
        ("CMD uvicorn main:app --port $X", ("127.0.0.1", None)),
        ("ENV X=80\nCMD uvicorn main:app --port $X", ("127.0.0.1", 80)),
        ("CMD gunicorn -b 0.0.0.0:81 main:app", ("0.0.0.0", 81)),
        ("CMD gunicorn -c conf.py main:app", (None, None)),
        ("CMD flask --app main run", ("127.0.0.1", 5000)),
        ("CMD python -m http.server 80", ("0.0.0.0", 80)),
        ("CMD vllm serve some/model", ("0.0.0.0", 8000)),
        ("CMD hypercorn main:app --bind [::]:80", ("[::]", 80)),
    ],
)
def test_commands(tmp_path: Path, start: str, place: tuple[str | None, int | None]) -> None:
    assert found(tmp_path, start) == [place]


@pytest.mark.parametrize(
    ("code", "place"),
    [
        ("import uvicorn\nuvicorn.run(app)", ("127.0.0.1", 8000)),
        ("import uvicorn\nP = 80\nuvicorn.run(app, port=P, host='::')", ("::", 80)),
        (f"{FLASK}app.run('0.0.0.0', 81)", ("0.0.0.0", 81)),
        (f"{FLASK}if __name__ == '__main__':\n    app.run()", ("127.0.0.1", 5000)),
        ("from http.server import HTTPServer\nHTTPServer(('', 82), X)", ("", 82)),
        ("import litserve as ls\ns = ls.LitServer(api)\ns.run(port=some())", ("0.0.0.0", None)),
        ("import os, uvicorn\nuvicorn.run(a, port=int(os.getenv('PORT', 60)))", ("127.0.0.1", 60)),
    ],
)  # fmt: skip
def test_programs(tmp_path: Path, code: str, place: tuple[str | None, int | None]) -> None:
    assert found(tmp_path, "CMD python main.py", code) == [place]


def test_an_option_of_the_command_counts(tmp_path: Path) -> None:
    code = (
        "import argparse, uvicorn\np = argparse.ArgumentParser()\n"
        "p.add_argument('--port', default=5000)\na = p.parse_args()\n"
        "uvicorn.run(app, host='0.0.0.0', port=a.port)\n"
    )
    assert found(tmp_path, "CMD python main.py", code) == [("0.0.0.0", 5000)]
    assert found(tmp_path, "CMD python main.py --port 80", code) == [("0.0.0.0", 80)]


def test_what_only_a_main_program_does_is_not_done_by_an_import(tmp_path: Path) -> None:
    code = "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run(app, port=5000)\n"
    assert found(tmp_path, "CMD uvicorn main:app --host 0.0.0.0 --port 80", code) == [
        ("0.0.0.0", 80)
    ]
