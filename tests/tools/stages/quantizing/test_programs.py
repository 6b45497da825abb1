"""llm-compressor's process: found or told how to make it, its progress, its failures, its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.errors import StageError, UserError
from tools.run import compressed
from tools.stages.quantizing import programs

REQUEST = {"device": "cpu"}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in place of the job, beside a package that stands in for llm-compressor."""
    place = tmp_path / "lib" / "python3.12" / "site-packages"
    (place / f"llmcompressor-{compressed.VERSION}.dist-info").mkdir(parents=True)
    (place / "llmcompressor").mkdir()
    (place / "llmcompressor" / "__init__.py").write_text("here = 1")
    (place / "json_of_another_environment.py").touch()
    monkeypatch.setenv("ONEDAY_COMPRESS_VENV", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(programs, "JOB", "stand_in")
    return tmp_path / "stand_in.py"


ANSWERS = """
import importlib.util, json, os, sys
import llmcompressor
alone = importlib.util.find_spec("json_of_another_environment") is None
print("(1/2): Calibrating:  0%", end="\\r", file=sys.stderr)
print("(1/2): Calibrating: 50%", end="\\r", file=sys.stderr)
print("(2/2): Propagating: 50%", file=sys.stderr)
asked = json.load(open(sys.argv[1]))
card = os.environ.get("CUDA_VISIBLE_DEVICES")
json.dump({"asked": asked, "alone": alone, "card": card}, open(sys.argv[2], "w"))
"""


def test_what_it_answers(job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job.write_text(ANSWERS)
    found = programs.compress(REQUEST, tmp_path / "log")
    assert found == {"asked": REQUEST, "alone": True, "card": ""}
    assert capsys.readouterr().out == "quantize: part 1 of 2\nquantize: part 2 of 2\n"
    assert "Propagating: 50%" in (tmp_path / "log").read_text()


def test_an_environment_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDAY_COMPRESS_VENV", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"not installed in .*none; install it with: make compress"):
        programs.compress(REQUEST, tmp_path / "log")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise OSError(28, 'No space left on device')", r"OSError: \[Errno 28\] No space left"),
        ("import sys; print('so long'); sys.exit(3)", "failed: so long"),
        ("import os; os.kill(os.getpid(), 9)", "failed: no word"),
        ("", "gave no answer"),
    ],
)
def test_a_failure_says_why(text: str, reason: str, job: Path, tmp_path: Path) -> None:
    job.write_text(text)
    with pytest.raises(StageError, match=reason):
        programs.compress(REQUEST, tmp_path / "log")


def test_it_does_not_outlive_who_asked(job: Path, tmp_path: Path) -> None:
    """A kill -9 of the verb leaves no quantizer that still writes."""
    job.write_text(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))")
    with job.open("a") as file:
        file.write("\ntime.sleep(60)")
    call = "from pathlib import Path; from tools.stages.quantizing import programs\n"
    call += "programs.JOB = 'stand_in'\n"
    call += f"programs.compress({REQUEST!r}, Path({str(tmp_path / 'log')!r}))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(programs.ROOT)])}
    with subprocess.Popen([sys.executable, "-c", call], env=env) as parent:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(signal.SIGKILL)
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}/cmdline").is_file() or _is_dead(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child went on")


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
