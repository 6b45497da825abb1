"""The worker as a child process: started, waited for, and stopped on every way out."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from serve.config import ServeConfig
from tools.console import environment, say
from tools.errors import StageError, UserError
from tools.process import dies_with_parent
from tools.run.folder import write_json

HOST: Final = "127.0.0.1"
START_SECONDS = 1800  # 14 B parameters from a slow disk, with room to spare
STOP_SECONDS = 30  # until what does not end by itself is killed
LAST_LINES = 15  # of the log, shown when the worker dies


@contextlib.contextmanager
def serving(
    model: Path, config: ServeConfig, device: str, log: Path, port: int = 0
) -> Iterator[str]:
    """Serve ``model`` while the body runs; gives the base URL, without a trailing slash.

    Args:
        model: folder of the weights and the tokenizer.
        config: the recipe's ``serve`` section.
        device: ``cpu`` or ``cuda``.
        log: file the worker's output is added to; its configuration goes beside it.
        port: TCP port, 0 = any free one.

    Raises:
        UserError: the port is taken.
        StageError: the worker ended or hung while loading.
    """
    # When the body ends nobody is left who waits for an answer: nothing is drained.
    here = dataclasses.replace(config, host=HOST, port=free_port(port), drain_s=0.0)
    words = command(model, here, device, log.with_suffix(".json"))
    url = f"http://{HOST}:{here.port}"
    with child(words, log, environment()) as process:
        say(f"worker: loading {model} on {device} (log: {log})")
        started = time.monotonic()
        _wait_ready(process, url, log)
        say(f"worker: ready at {url} after {time.monotonic() - started:.0f} s")
        yield url


@contextlib.contextmanager
def child(
    words: Sequence[str],
    log: Path,
    env: dict[str, str],
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output added to ``log``; gone when the body ends.

    Its own session keeps Ctrl+C from it: only we stop it, and once.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),  # it may have processes of its own to end
        )
    try:
        yield process
    finally:
        _stop(process, STOP_SECONDS)


def listening(url: str) -> bool:
    """Whether something still accepts connections there: cheap, and true of a busy worker."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # a full queue is not a dead worker
    return True


def free_port(port: int) -> int:
    """``port`` itself, or with 0 one the system picks.

    Raises:
        UserError: something listens there already.
    """
    with socket.socket() as probe:
        # A port that was just let go is free to the worker, so it must be to us.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"serve.port: cannot use port {port} ({error.strerror}); stop what listens there, "
                f"or choose another with SET=serve.port={port + 1}"
            ) from None
        return int(probe.getsockname()[1])


def last_lines(log: Path) -> str:
    """The end of a log, for an error message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-LAST_LINES:])


def command(model: Path, config: ServeConfig, device: str, config_file: Path) -> list[str]:
    """The worker's command line; its configuration is written to ``config_file``."""
    write_json(config_file, dataclasses.asdict(config))
    words = ["--model", model, "--config", config_file, "--device", device]
    return [sys.executable, "-m", "serve", *map(str, words)]


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(url):
        code = process.poll()
        if code is not None:
            raise StageError(
                f"the worker ended with {code} while loading; {log}:\n{last_lines(log)}"
            )
        if time.monotonic() > deadline:
            raise StageError(f"no worker after {START_SECONDS} s; {log}:\n{last_lines(log)}")
        time.sleep(0.2)


def _healthy(url: str) -> bool:
    # No proxy: one set for the network must not get requests for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=10) as reply:
            return bool(reply.status == 200)
    except OSError:  # refused, timed out, or a status over 400
        return False


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGTERM to the process, then SIGKILL to all that is left of its session."""
    try:
        process.terminate()
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
