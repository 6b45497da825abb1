"""Ports and routes, starts of the base, options and downloads: what is told and what is not."""

from pathlib import Path

import pytest

from tools.lint.linter import lint
from tools.lint.rules import hadolint

DIGEST = "@sha256:" + "9f0e3c1a" * 8
PYTHON = f"FROM python:3.11.9-slim{DIGEST}"
SERVE = 'import uvicorn\nuvicorn.run(app, host="0.0.0.0", port=8000)\n'
START = 'CMD ["python", "main.py"]'
ON_80 = 'uvicorn.run(app, host="0.0.0.0", port=80)\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder."""
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))
    made = tmp_path / "day"
    made.mkdir()
    return made


def told(root: Path, *lines: str, base: str = PYTHON, code: str = "") -> set[str]:
    """The rules that speak of a Dockerfile of these lines, with main.py where there is code."""
    copies = ["WORKDIR /app", "COPY main.py ."] if code else []
    if code:
        (root / "main.py").write_text(code)
    (root / "Dockerfile").write_text("\n".join([base, *copies, *lines]) + "\n")
    return {one.rule for one in lint(root)}


@pytest.mark.parametrize(
    "line",
    ["print(prompt[:80])", "N = 80", "short = prompt[:80]", "ends = prompt[1:80]", "# port 80",
     'print("not port 80")'],
)  # fmt: skip
def test_an_eighty_that_is_no_port_hides_no_wrong_port(root: Path, line: str) -> None:
    assert told(root, START, code=SERVE + line + "\n") == {"wrong-port"}


@pytest.mark.parametrize(
    "line",
    ["PORT = 80", 'serve("0.0.0.0:80")', "run(server_port=80)", "def run(port: int = 80): ...",
     'SETTINGS = {"webPort": 80}', 's.bind(("", 80))'],
)  # fmt: skip
def test_another_program_on_port_80_is_heard(root: Path, line: str) -> None:
    assert told(root, START, code=SERVE + line + "\n") == set()


@pytest.mark.parametrize(
    "start",
    [
        'CMD ["python", "-m", "vllm.entrypoints.openai.api_server", "--model=x", "--port", "80"]',
        'CMD ["text-generation-launcher", "--hostname", "0.0.0.0", "--port", "80"]',
        'CMD ["llama-server", "--host", "0.0.0.0", "--port", "80"]',
        'CMD ["python", "-m", "http.server", "80"]',
        "CMD exec vllm serve x --host 0.0.0.0 --port 80",
        'CMD ["streamlit", "run", "main.py", "--server.port", "80"]',
    ],
)
def test_a_ready_made_server_has_no_process(root: Path, start: str) -> None:
    assert told(root, start, code="print()\n") == {"no-process-route"}


def test_a_ready_made_server_that_may_have_been_changed(root: Path) -> None:
    start = 'CMD ["llama-server", "--host", "0.0.0.0", "--port", "80"]'
    assert told(root, start, base=f"FROM somebody/llama:1{DIGEST}") == set()
    assert told(root, start, code='ROUTES = ["/process"]\n') == set()
    assert told(root, "CMD llama-server --port 81 & python main.py", code=ON_80) == set()


def test_the_start_of_the_base_is_inherited(root: Path) -> None:
    base = f"FROM tiangolo/uvicorn-gunicorn-fastapi:python3.10{DIGEST}"
    assert told(root, base=base, code="print()\n") == set()
    for plain in ("python:3.11", "docker.io/library/ubuntu:22.04", "nvidia/cuda:12.1.1-base"):
        assert told(root, "EXPOSE 80", base=f"FROM {plain}{DIGEST}") == {"no-start-command"}


@pytest.mark.parametrize(
    ("platform", "rules"),
    [
        ("linux/amd64", set()),
        ("linux/x86_64", set()),
        ("linux/amd64/v2", set()),
        ("linux/arm64", {"wrong-platform"}),
        ("linux/arm64/v8", {"wrong-platform"}),
    ],
)
def test_platforms(root: Path, platform: str, rules: set[str]) -> None:
    base = PYTHON.replace("FROM", f"FROM --platform={platform}")
    assert told(root, START, base=base, code=f"import uvicorn\n{ON_80}") == rules


@pytest.mark.parametrize("line", ['f"{d["a"]}"', "type X = int", "def f[T](x: T) -> T: ..."])
def test_syntax_of_a_newer_python(root: Path, line: str) -> None:
    code = f"import uvicorn\nd = {{}}\n{line}\n{ON_80}"
    for newer in ("python:3.12", "ubuntu:24.04"):
        found = told(root, START, base=f"FROM {newer}{DIGEST}", code=code)
        assert "python-syntax" not in found


def test_no_syntax_of_any_python(root: Path) -> None:
    for base in (f"FROM python:3.12{DIGEST}", PYTHON):
        assert "python-syntax" in told(root, START, base=base, code="def f(:\n")


@pytest.mark.parametrize("given", ['"-p", "80"', '"-p80"', '"--port=80"', '"--port", "80"'])
def test_every_string_of_an_option(root: Path, given: str) -> None:
    code = (
        "import argparse, uvicorn\np = argparse.ArgumentParser()\n"
        "p.add_argument('-p', '--port', type=int, default=8000)\na = p.parse_args()\n"
        "uvicorn.run(app, host='0.0.0.0', port=a.port)\n"
    )
    assert told(root, f'CMD ["python", "-u", "main.py", {given}]', code=code) == set()
    assert told(root, START, code=code) == {"wrong-port"}


@pytest.mark.parametrize(
    "line",
    [
        "curl -fsSLo mc.sh https://example.org/Miniconda3.sh && bash mc.sh",
        "curl -omc.sh https://example.org/Miniconda3.sh && bash mc.sh",
        "wget -qO x https://example.org/y.bin && sha256sum x",
        "wget -qP /m https://example.org/y.bin && ls /m",
        "curl -LO https://example.org/y.bin && ls y.bin",
        "wget -o log https://example.org/y.bin && ls y.bin",
        "wget https://example.org/a-1.0.whl && pip install *.whl",
    ],
)
def test_downloads_that_are_used(root: Path, line: str) -> None:
    base = f"FROM python:3.11.9{DIGEST}"
    found = told(root, f"RUN {line}", START, base=base, code=f"import uvicorn\n{ON_80}")
    assert "unused-download" not in found


@pytest.mark.parametrize(
    "line",
    [
        "curl -fsSLo a.bin https://example.org/b.bin && ls b.bin",
        "wget https://example.org/b.bin && ls *.txt /tmp/*",
    ],
)
def test_downloads_that_are_not(root: Path, line: str) -> None:
    base = f"FROM python:3.11.9{DIGEST}"
    found = told(root, f"RUN {line}", START, base=base, code=f"import uvicorn\n{ON_80}")
    assert "unused-download" in found


APP = "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\n"
OTHERS = '@app.post("/tokenize")\n@app.post("/decode")\ndef f(): ...\n' + ON_80


@pytest.mark.parametrize(
    "route",
    ['get("/process")', 'route("/process")', 'api_route("/process", methods=["GET"])',
     'post("/v1/process")', 'route("/api/process", methods=["POST"])'],
)  # fmt: skip
def test_a_route_that_no_question_reaches(root: Path, route: str) -> None:
    assert told(root, START, code=f"{APP}@app.{route}\n{OTHERS}") == {"no-process-route"}


@pytest.mark.parametrize(
    "lines",
    [
        '@app.post("/process")\n',
        '@app.get("/process")\n@app.post("/process")\n',
        '@app.route("/process", methods=["GET", "POST"])\n',
        '@app.route("/process", methods=METHODS)\n',
        '@app.post("/v1/process")\n@app.post("/process")\n',
        'def f(): http.get("http://127.0.0.1:80/process")\n@app.post(PREFIX + "/process")\n',
        'PATH = "/process"\n@app.post(PATH)\n',
    ],
)
def test_a_route_that_questions_reach(root: Path, lines: str) -> None:
    assert told(root, START, code=APP + lines + OTHERS) == set()


def test_conda_on_a_base_without_it(root: Path) -> None:
    (root / "environment.yml").write_text("dependencies:\n  - python=3.11.9\n")
    update = "RUN conda env update -f environment.yml"
    lines = ["COPY environment.yml .", update, START]
    server = f'{APP}@app.post("/process")\n{OTHERS}'
    assert told(root, *lines, code=server) == {"missing-tool"}
    fetch = "ADD https://a.org/Miniconda3-py311_23.5.2-0-Linux-x86_64.sh /m.sh"
    assert "missing-tool" not in told(root, fetch, "RUN bash /m.sh -b", *lines, code=server)


def test_a_package_of_nothing(root: Path) -> None:
    server = f'{APP}@app.post("/process")\n{OTHERS}'
    lines = ["RUN pip install --no-deps -e .", START]
    assert told(root, *lines, code=server) == {"missing-package-file"}
    (root / "setup.py").write_text("from setuptools import setup\nsetup(name='x')\n")
    assert told(root, "COPY setup.py .", *lines, code=server) == set()
