"""Folders made on the spot: names, sizes, output, and texts that no linter may die of."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.errors import UserError
from tools.lint.finding import Finding
from tools.lint.linter import as_json, exit_code, lint, render
from tools.lint.rules import hadolint

BASE = "FROM python:3.11.9-slim@sha256:" + "9f0e3c1a" * 8
SERVER = """
from fastapi import FastAPI
app = FastAPI()
@app.post("/process")
def process(body: dict) -> dict: return {}
@app.post("/tokenize")
def tokenize(body: dict) -> dict: return {}
@app.post("/decode")
def decode(body: dict) -> dict: return {}
"""
RUN_IT = 'CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "80"]'
GIT = "RUN apt-get update && apt-get install -y git"
TOKEN = "hf_" + "QkZtWvLrXsNbYcPdMgJhFeTuAiOqRwEzKl"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without faults."""
    monkeypatch.setattr(hadolint, "check", lambda path: iter(()))
    root = tmp_path / "day"
    root.mkdir()
    (root / "main.py").write_text(SERVER)
    dockerfile(root)
    return root


def dockerfile(root: Path, *lines: str, start: str = RUN_IT, base: str = BASE) -> None:
    text = "\n".join([base, "WORKDIR /app", "COPY main.py .", *lines, start])
    (root / "Dockerfile").write_text(text + "\n")


def rules(root: Path) -> list[str]:
    return [one.rule for one in lint(root)]


def places(root: Path) -> list[tuple[str, str, int]]:
    return [(one.rule, one.file, one.line) for one in lint(root)]


def test_nothing_is_said_of_a_folder_without_faults(folder: Path) -> None:
    assert lint(folder) == []
    assert render([]) == "lint-submission: 0 errors, 0 warnings"
    assert exit_code([]) == 0 and as_json([]) == []


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        lint(tmp_path / "nowhere")


def test_a_file_over_the_limit(folder: Path) -> None:
    with (folder / "rows.jsonl").open("wb") as file:
        file.truncate(100_000_001)
    assert places(folder) == [("file-too-large", "rows.jsonl", 0)]


def test_a_folder_over_the_limit_unless_docker_is_not_sent_it(folder: Path) -> None:
    for number in range(6):
        with (folder / f"rows{number}.jsonl").open("wb") as file:
            file.truncate(90_000_000)
    assert rules(folder) == ["folder-too-large"]
    (folder / ".dockerignore").write_text("*.jsonl\n!rows1.jsonl\n")
    assert rules(folder) == []


@pytest.mark.parametrize("name", ["my day", "day_", "a---b", "päper", "day (1)", "day+1"])
def test_a_folder_whose_name_is_no_image(folder: Path, name: str) -> None:
    assert rules(folder.rename(folder.with_name(name))) == ["unsafe-name"]


@pytest.mark.parametrize("name", ["Day-1", "submission_4090_1", "a.b", "4090"])
def test_a_folder_whose_name_is_an_image(folder: Path, name: str) -> None:
    assert rules(folder.rename(folder.with_name(name))) == []


def test_odd_characters_in_a_path(folder: Path) -> None:
    (folder / "what?.txt").write_text("one")
    assert places(folder) == [("unsafe-path", "what?.txt", 0)]


def test_many_odd_paths_are_told_together(folder: Path) -> None:
    for number in range(7):
        (folder / f"oneday:skill={number}").mkdir()
        (folder / f"oneday:skill={number}" / "stats.json").write_text("[]")
    named = [("unsafe-path", f"oneday:skill={number}", 0) for number in range(5)]
    assert places(folder) == [("unsafe-path", ".", 0), *named]
    assert lint(folder)[0].message == "2 more paths like these"


def test_an_environment_is_not_read(folder: Path) -> None:
    """One of PyTorch's has 100,000 files; to look for secrets in each took minutes."""
    package = folder / ".venv" / "lib" / "my package"
    package.mkdir(parents=True)
    (package / "token.py").write_text(f'TOKEN = "{TOKEN}"\n')
    (folder / ".venv" / "pyvenv.cfg").write_text("version = 3.11.9\n")
    assert places(folder) == [("environment-in-tree", ".venv", 0)]
    (folder / ".dockerignore").write_text(".venv\n")
    assert places(folder) == []


def test_a_dockerfile_of_powershell(folder: Path) -> None:
    path = folder / "Dockerfile"
    path.write_bytes(path.read_text().encode("utf-16"))
    assert places(folder) == [("dockerfile-syntax", "Dockerfile", 1)]
    path.write_bytes(path.read_bytes().decode("utf-16").encode("utf-8-sig"))  # Docker takes that
    assert places(folder) == []


def test_a_shell_that_is_no_json(folder: Path) -> None:
    dockerfile(folder, "SHELL /bin/bash -c")
    assert rules(folder) == ["dockerfile-syntax"]


def test_no_image_is_told_once(folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM\nCMD x\n")
    assert rules(folder) == ["dockerfile-syntax"]


@pytest.mark.parametrize(
    ("mount", "told"),
    [
        ("type=bind,source=requirements.txt,target=/tmp/r.txt", []),
        ("target=/tmp", []),  # bind is what a mount is; /tmp/r.txt would be the folder's r.txt
        ("type=bind,from=models,source=/r.txt,dst=/tmp/r.txt", []),
        ("type=cache,target=/tmp", ["missing-package-file"]),
        ("type=bind,source=requirements.txt,target=/tmp/other.txt", ["missing-package-file"]),
    ],
)
def test_requirements_that_a_mount_brings(folder: Path, mount: str, told: list[str]) -> None:
    for name in ("r.txt", "requirements.txt"):
        (folder / name).write_text("peft==0.5.0\n")
    dockerfile(folder, f"RUN --mount={mount} pip install -r /tmp/r.txt")
    assert [rule for rule in rules(folder) if rule == "missing-package-file"] == told


def test_a_digest_that_is_none(folder: Path) -> None:
    dockerfile(folder, base="FROM python:3.11.9@sha256:abc")
    assert rules(folder) == ["bad-digest"]


def test_an_entrypoint_of_a_shell_takes_no_command(folder: Path) -> None:
    start = 'ENTRYPOINT uvicorn main:app --host 0.0.0.0 --port 80\nCMD ["--reload"]'
    dockerfile(folder, start=start)
    assert places(folder) == [("ignored-command", "Dockerfile", 5)]


def test_the_secret_itself_is_never_said(folder: Path) -> None:
    dockerfile(folder, f"ENV HF_TOKEN={TOKEN}", f"RUN echo {TOKEN} | wc -c && pip install {TOKEN}")
    found = lint(folder)
    assert {"secret", "unpinned-package"} <= {one.rule for one in found}
    assert TOKEN not in render(found) + json.dumps(as_json(found))


def test_the_output_says_where_why_and_what_to_do(folder: Path) -> None:
    dockerfile(folder, "COPY man.py .")
    text = render(lint(folder))
    assert (
        "Dockerfile:4: error: man.py: no such file; did you mean main.py? [missing-source]" in text
    )
    assert "    why: `docker build" in text and "    remedy: correct the path" in text
    assert text.endswith("lint-submission: 1 errors, 0 warnings")
    assert exit_code(lint(folder)) == 1


def test_warnings_alone_set_no_exit_code(folder: Path) -> None:
    dockerfile(folder, base="FROM python:3.11.9-slim")
    assert rules(folder) == ["no-digest"] and exit_code(lint(folder)) == 0


@pytest.mark.parametrize(
    "lines",
    [
        ["# RUN pip install torch>=2.0"],
        ['RUN echo "pip install torch>=2.0"'],
        ["RUN pip install fastapi==0.110.0 'torch==2.1.0' \"numpy==1.26.4\" 2>/dev/null"],
        ["RUN pip install fastapi==0.110.0 numpy==1.26.4 > pip.log 2>&1"],
        ['RUN python -c "print(1 > 0)"'],
        ["ARG VERSION=1.26.4", "RUN pip install fastapi==0.110.0 numpy==${VERSION}"],
        ["RUN V=1.26.4 && pip install numpy==$V"],
        ["RUN for p in numpy scipy; do echo $p; done"],
        ["ENV PATH=/app/bin:$PATH LD_LIBRARY_PATH=/app/lib:${LD_LIBRARY_PATH}"],
        ["RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install git"],
        ["SHELL [\"/bin/bash\", \"-c\"]", "RUN python -m venv v && source v/bin/activate && ls"],
        ["RUN useradd -m anna", "ENV HF_HOME=/home/" + "anna/cache"],
        [GIT, "RUN git clone https://github.com/a/b && cd b && git checkout 0123456789ab"],
        [GIT, "RUN pip install git+https://github.com/a/b@0123456789abcdef0123456789abcdef01234567"],
        [GIT, "RUN pip install git+https://github.com/a/b@v1.2.3#egg=b"],
        ["RUN pip install b@https://example.org/b-1.0-py3-none-any.whl"],
        ["EXPOSE 80/tcp 9090"],
        ["COPY <<EOF settings.txt", "FROM nobody", "pip install x", "EOF"],
        ["RUN <<EOF", "cd /app", "echo one", "EOF"],
        ["RUN cat <<'EOF' > notes.txt", "pip install torch>=2", "$NOBODY", "EOF"],
        ["HEALTHCHECK CMD curl -f http://127.0.0.1:80/health || exit 1"],
        ["USER 1000:1000"],
        ["LABEL note=\"built with $LOVE at /home/" + "anna/day\""],
        ["ARG TARGETARCH", "RUN echo $TARGETARCH"],
        ["RUN --mount=type=cache,target=/var/cache pip install fastapi==0.110.0 numpy==1.26.4"],
    ],
    ids=lambda lines: lines[-1][:40],
)  # fmt: skip
def test_what_is_no_fault(folder: Path, lines: list[str]) -> None:
    dockerfile(folder, *lines)
    assert lint(folder) == []


@pytest.mark.parametrize(
    "start",
    [
        'CMD ["python", "-m", "uvicorn", "main:app", "--host=0.0.0.0", "--port=80"]',
        "CMD exec uvicorn main:app --host 0.0.0.0 --port ${PORT:-80}",
        'CMD ["sh", "-c", "uvicorn main:app --host 0.0.0.0 --port 80"]',
        'CMD ["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "-b", "0.0.0.0:80", "main:app"]',
        'CMD ["gunicorn", "--bind=:80", "main:app"]',
        'ENTRYPOINT ["uvicorn", "main:app"]\nCMD ["--host", "0.0.0.0", "--port", "80"]',
        'CMD ["sh", "-c", "socat TCP-LISTEN:80 TCP::81 & exec uvicorn main:app --port 81"]',
        'ENV UVICORN_HOST=0.0.0.0 UVICORN_PORT=80\nCMD ["uvicorn", "main:app"]',
        'CMD ["fastapi", "run", "main.py", "--port", "80"]',
    ],
)  # fmt: skip
def test_servers_on_port_80(folder: Path, start: str) -> None:
    dockerfile(folder, start=start)
    assert lint(folder) == []


@pytest.mark.parametrize(
    "code",
    [
        'uvicorn.run(app, host="0.0.0.0", port=80)',
        'uvicorn.run("main:app", host="0.0.0.0", port=int(os.environ.get("PORT", "80")))',
        "uvicorn.run(app, **settings)",
        'litserve.LitServer(object(), api_path="/process").run(port=80)',
    ],
)
def test_programs_on_port_80(folder: Path, code: str) -> None:
    (folder / "main.py").write_text(f"import os, uvicorn, litserve\n{SERVER}\n{code}\n")
    dockerfile(folder, start='CMD ["python", "main.py"]')
    assert lint(folder) == []


def test_an_entry_script_that_runs_what_it_is_given(folder: Path) -> None:
    script = folder / "entry.sh"
    script.write_text('#!/bin/sh\nset -e\necho ready\nexec "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    start = 'ENTRYPOINT ["./entry.sh"]\nCMD ["uvicorn", "main:app", "--port", "8000"]'
    dockerfile(folder, "COPY entry.sh .", start=start)
    assert [rule for rule in rules(folder)] == ["local-only", "wrong-port"]


def test_stages_that_are_not_built_are_not_judged(folder: Path) -> None:
    other = "FROM ubuntu AS lab\nRUN pip install everything"
    (folder / "Dockerfile").write_text(f"{other}\n{(folder / 'Dockerfile').read_text()}")
    assert lint(folder) == []


def test_code_that_does_not_run_may_hold_home_paths(folder: Path) -> None:
    (folder / "train.py").write_text('DATA = "/home/' + 'anna/rows"\n')
    dockerfile(folder, "COPY train.py .")
    assert lint(folder) == []


def test_a_gated_model_with_an_open_fallback(folder: Path) -> None:
    code = """
from huggingface_hub import snapshot_download
try:
    path = snapshot_download("meta-llama/Llama-2-7b-hf", revision="0123456789")
except OSError:
    path = snapshot_download("NousResearch/Llama-2-7b-hf", revision="0123456789")
"""
    (folder / "main.py").write_text(SERVER + code)
    assert lint(folder) == []


def test_a_placeholder_is_no_secret(folder: Path) -> None:
    (folder / "README.md").write_text("export HF_TOKEN=hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n")
    assert lint(folder) == []


def test_hadolint_is_asked_where_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    said = [{"code": "DL9999", "line": 2, "level": "error", "message": "odd"}]
    program = tmp_path / "hadolint"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(hadolint.shutil, "which", lambda name: str(program))
    monkeypatch.setattr(hadolint.sys, "executable", str(tmp_path / "nowhere" / "python"))
    found = list(hadolint.check(folder / "Dockerfile"))
    assert [(one.rule, one.line, one.message) for one in found] == [("hadolint", 2, "DL9999: odd")]
    program.write_text("#!/bin/sh\necho no JSON\n")
    assert list(hadolint.check(folder / "Dockerfile")) == []


PIECES = st.sampled_from(
    "FROM RUN CMD COPY ADD ENV ARG ENTRYPOINT EXPOSE WORKDIR USER ONBUILD SHELL python:3 scratch "
    'pip install -r requirements.txt torch>=2 . .. / --from=x --mount=type=secret ["a" , ] { } ( ) '
    "$( $X ${X} ${X:-y} ${ ' \" ` \\ \\\n \n \n && || | ; & > >> < <<EOF EOF # git clone http://x "
    "apt-get bash -c python -m main.py uvicorn main:app --port 80 \t é \u2018 = == A=b A".split(" ")
)
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(parts=st.lists(PIECES | st.text(max_size=4), max_size=30))
def test_no_dockerfile_breaks_the_linter(parts: list[str], folder: Path) -> None:
    (folder / "Dockerfile").write_text(" ".join(parts), errors="replace")
    judged(folder)


@MANY
@given(parts=st.lists(PIECES | st.text(max_size=4), max_size=30))
def test_no_script_breaks_the_linter(parts: list[str], folder: Path) -> None:
    (folder / "run.sh").write_text(" ".join(parts), errors="replace")
    dockerfile(folder, "COPY run.sh .", "RUN bash run.sh", start='CMD ["sh", "run.sh"]')
    judged(folder)


@MANY
@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_no_file_breaks_the_linter(text: str | bytes, folder: Path) -> None:
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    for name in ("requirements.txt", "main.py", ".dockerignore", ".gitmodules", "environment.yml"):
        (folder / name).write_bytes(raw)
    dockerfile(folder, "COPY . .", "RUN pip install -r requirements.txt", "RUN python main.py",
               "RUN conda env create -f environment.yml")  # fmt: skip
    judged(folder)


def test_nesting_that_no_reader_follows(folder: Path) -> None:
    (folder / "main.py").write_text(SERVER + "x = " + "+".join("1" * 3000) + "\n")
    dockerfile(folder, "RUN echo " + '"$(' * 3000, "RUN echo " + "[" * 3000)
    judged(folder)


def judged(folder: Path) -> None:
    found = lint(folder)
    assert all(isinstance(one, Finding) and one.line >= 0 and one.remedy for one in found)
    assert render(found) and json.dumps(as_json(found))
