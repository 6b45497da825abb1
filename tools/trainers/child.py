"""A trainer as a child process: how it is started, its log, its events, its end."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tools.console import environment
from tools.errors import StageError
from tools.process import dies_with_parent
from tools.run.folder import Run
from tools.trainers.failure import reason
from tools.trainers.telling import MARK

Event = dict[str, Any]
NEWEST = 1000  # lines of a child that the reason of its failure is looked for in


class Overdue(StageError):
    """The child did not end in the time it was given, and was ended."""


@dataclass(frozen=True)
class Trainer:
    """What trains a kind of models, seen from outside its process.

    Attributes:
        name: in messages.
        job: the module that runs in its process; called with a command, the file and, as JSON,
            values over the file's.
        render: writes the plain file of what is asked into a run, given the base model's folder.
        overrides: what only matters inside a run folder, given the folder that is filled.
    """

    name: str
    job: str
    render: Callable[[Run, Path], Path]
    overrides: Callable[[Run, Path], dict[str, Any]]


def call(
    trainer: Trainer,
    run: Run,
    command: str,
    config: Path,
    overrides: dict[str, Any],
    watch: Callable[[Event], None] = lambda event: None,
    variables: Mapping[str, str] | None = None,
    seconds: float | None = None,
) -> None:
    """Run a trainer's command to its end; its output goes to the run's logs.

    Args:
        trainer: whose process is started.
        run: whose log folder is written.
        command: ``train``, or another of the trainer's.
        config: the YAML file.
        overrides: values over the file's.
        watch: called with every event that the child tells.
        variables: more of the environment.
        seconds: time to end in; None for any.

    Raises:
        Overdue: it took longer.
        StageError: it failed; the message holds the last lines of its log.
        KeyboardInterrupt: after the child has ended, too.
    """
    log = run.logs / f"{command}.log"
    cards = run.recipe.hardware.gpus if command == "train" else 1
    words = _words(trainer.job, cards, command, config, overrides)
    # torchrun must live to end its jobs, see _stop; one job has nothing to put in order.
    end = signal.SIGTERM if cards > 1 else signal.SIGKILL
    told: deque[str] = deque(maxlen=NEWEST)
    # transformers reads it.
    here = {"TENSORBOARD_LOGGING_DIR": str(run.logs / "tensorboard"), **_shared(run, cards)}
    # Unbuffered: the log is whole however we or the child may end.
    with log.open("ab", buffering=0) as sink:
        child = _start(words, end, {**here, **(variables or {})})
        overdue = threading.Event()
        wait = threading.TIMEOUT_MAX if seconds is None else seconds
        limit = threading.Timer(wait, _overrun, (child, end, overdue))
        limit.daemon = True  # our own exit does not wait for it
        limit.start()
        try:
            for event in _events(child, sink, told):
                watch(event)
            code = child.wait()
        finally:
            limit.cancel()
            _stop(child, end)
    if overdue.is_set():  # first: the code of a child that we ended says nothing
        raise Overdue(
            f"{trainer.name} {command} did not end in {seconds:.0f} s and was stopped\n  log: {log}"
        )
    if code:
        raise StageError(
            f"{trainer.name} {command} ended with code {code}: {reason(told)}\n  log: {log}"
        )


def _shared(run: Run, cards: int) -> dict[str, str]:
    """What several jobs on a CPU are told: no card that may be there, and a share of the cores."""
    if cards == 1 or run.recipe.hardware.device != "cpu":
        return {}
    threads = max(1, len(os.sched_getaffinity(0)) // cards)
    return {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}


def _start(
    words: list[str], end: signal.Signals, variables: Mapping[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(
            PYTHONPATH=_import_path(),
            PYTHONHASHSEED="0",  # PEFT writes a set, target_modules, into adapter_config.json
            **variables,
        ),
        start_new_session=True,
        preexec_fn=dies_with_parent(end),
    )


def _words(
    job: str, cards: int, command: str, config: Path, overrides: dict[str, Any]
) -> list[str]:
    """The child's command line; for several cards it is torchrun that starts a job on each."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={cards}", "-m"]
    return [
        sys.executable,
        "-m",
        *(launcher if cards > 1 else []),
        job,
        command,
        str(config),
        json.dumps(overrides),
    ]


def _import_path() -> str:
    """Where the child finds ``tools``, whatever folder the user calls from."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _events(child: subprocess.Popen[str], sink: IO[bytes], told: deque[str]) -> Iterator[Event]:
    """The events among the child's lines; the others go to the log, the newest to ``told``, too."""
    assert child.stdout is not None
    for line in child.stdout:
        if MARK in line:  # not at its start: a progress bar ends without a newline
            yield json.loads(line[line.index(MARK) + len(MARK) :])
            continue
        told.append(line)
        with suppress(OSError):  # a full disk must not hide what the child has to say of it
            sink.write(line.encode())


def _overrun(child: subprocess.Popen[str], end: signal.Signals, overdue: threading.Event) -> None:
    """Called by a timer: end a child that hangs, in a kernel perhaps."""
    if child.poll() is None:
        overdue.set()
        with suppress(ProcessLookupError):  # it has ended since it was looked at
            os.killpg(child.pid, end)


def _stop(child: subprocess.Popen[str], end: signal.Signals) -> None:
    """End a child that still runs.

    Its own session keeps Ctrl+C from Axolotl's handler, which would save a half-trained adapter and
    exit with 0; checkpoints are what a restart goes on from. torchrun puts each job into a session
    of its own, out of our reach: a polite signal lets it end them, within 30 seconds.
    """
    if child.poll() is None:
        os.killpg(child.pid, end)
        child.wait()
