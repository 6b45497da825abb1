"""The worker's life as a child process, with a stand-in for ``python -m serve``."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from serve.config import ServeConfig
from tools.errors import StageError, UserError
from tools.evaluate import worker

# The model folder's name says how it behaves; its processes' ids go to the file "pids".
STAND_IN = """
import http.server, json, os, signal, subprocess, sys, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
config = json.load(open(options["--config"]))
mode = options["--model"]
helper = subprocess.Popen(["sleep", "600"])
open("pids", "w").write(f"{os.getpid()} {helper.pid}")
if mode == "dies":
    print("boom: no such tensor")
    helper.kill()
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
born = time.monotonic()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        loading = mode == "hangs" or time.monotonic() - born < 0.5
        self.send_response(503 if loading else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer((config["host"], config["port"]), Handler).serve_forever()
"""

PARENT = """
import time
from pathlib import Path
from serve.config import ServeConfig
from tools.evaluate.worker import serving
with serving(Path("fine"), ServeConfig(), "cpu", Path("worker.log")):
    Path("ready").touch()
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose ``serve`` package is the stand-in."""
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "__init__.py").touch()  # else the real package, a regular one, wins
    (tmp_path / "serve" / "__main__.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie, whose parent is slow to look, has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split(")")[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def pids() -> list[int]:
    """The worker's process and its helper's."""
    return [int(word) for word in Path("pids").read_text(encoding="utf-8").split()]


def all_gone(processes: list[int], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not all(map(gone, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def serving(mode: str, port: int = 0) -> contextlib.AbstractContextManager[str]:
    return worker.serving(Path(mode), ServeConfig(context=77), "cpu", Path("worker.log"), port)


def test_serves_while_the_body_runs() -> None:
    with serving("fine") as url:
        assert urllib.request.urlopen(f"{url}/health").status == 200
        assert worker.listening(url)
    assert all_gone(pids())
    assert not worker.listening(url)


def test_hands_over_the_configuration() -> None:
    with serving("fine"):
        pass
    config = json.loads(Path("worker.json").read_text(encoding="utf-8"))
    assert config["context"] == 77
    assert config["drain_s"] == 0  # nobody waits for an answer when the body ends


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_stops_on_every_way_out(error: type[BaseException]) -> None:
    with pytest.raises(error), serving("fine"):
        raise error
    assert all_gone(pids())


def test_kills_a_worker_that_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "STOP_SECONDS", 0.2)
    with serving("stubborn"):
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert all_gone(pids())


def test_names_the_log_of_a_worker_that_dies() -> None:
    with pytest.raises(StageError, match=r"ended with 3.*worker\.log") as caught, serving("dies"):
        pytest.fail("the body ran")
    assert "boom: no such tensor" in str(caught.value)


def test_gives_up_on_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "START_SECONDS", 1)
    with pytest.raises(StageError, match="no worker after 1 s"), serving("hangs"):
        pytest.fail("the body ran")
    assert all_gone(pids())


def test_names_a_taken_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"), serving("fine", port):
            pytest.fail("the body ran")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_leaves_no_orphan_when_killed() -> None:
    Path("parent").mkdir()
    Path("parent/start.py").write_text(PARENT, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(Path(worker.__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, "parent/start.py"], env=env)
    while not Path("ready").exists():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    process, helper = pids()
    os.kill(helper, signal.SIGKILL)  # the stand-in does not look after it
    assert all_gone([process])
