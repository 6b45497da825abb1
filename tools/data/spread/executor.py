"""``EXECUTOR=datatrove:N``: a function over many arguments as a pipeline of datatrove's, N tasks.

Arguments and results lie in files below one folder, a task's results are whole or not there, and
datatrove marks the tasks that are complete: called again, only the others are done.
"""

import contextlib
import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tools.console import bar, environment, say
from tools.data.spread.task import failed
from tools.errors import StageError, UserError
from tools.files import digest
from tools.recipe.faults import nearest
from tools.run.folder import Run

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("datatrove", "datatrove-slurm")
_EVERY = 0.2  # seconds between two looks at the tasks


class Spread(Protocol):
    """What ``map`` is: a function over many arguments, results in their order."""

    def __call__(self, function: Callable[[Any], Any], jobs: Iterable[Any], /) -> Iterator[Any]:
        """The results."""


@dataclass(frozen=True)
class Asked:
    """An executor as the command line names it.

    Attributes:
        kind: one of ``KINDS``.
        tasks: into how many the work is cut.
        options: of ``sbatch``, by name.
    """

    kind: str
    tasks: int
    options: dict[str, str] = field(default_factory=dict)


def asked(word: str) -> Asked:
    """Read ``datatrove:N`` or ``datatrove-slurm:N,partition=P,time=T``.

    Raises:
        UserError: it is no executor, or its package is not installed.
    """
    head, *options = word.split(",")
    kind, _, count = head.partition(":")
    where = f"EXECUTOR={word}"
    if kind not in KINDS:
        raise UserError(f"{where}: no executor{nearest(kind, KINDS)}; there is {', '.join(KINDS)}")
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"{where}: say into how many tasks the work is cut, as {kind}:4")
    given = dict(option.partition("=")[::2] for option in options)
    if kind == "datatrove" and given:
        raise UserError(f"{where}: {kind} takes the number of tasks alone")
    lacking = [name for name in ("partition", "time") if not given.get(name)]
    if kind == "datatrove-slurm" and lacking:
        said = f"Slurm wants {' and '.join(lacking)}: {head},partition=NAME,time=HH:MM:SS"
        raise UserError(f"{where}: {said}")
    if importlib.util.find_spec("datatrove") is None:
        raise UserError(f"{where}: the package datatrove is not installed here; run: make setup")
    return Asked(kind, int(count), given)


class Datatrove:
    """Spreads functions over tasks.

    Args:
        asked: how.
        folder: where arguments and results lie; what an earlier call left there is gone on with.
        log: where the tasks' output goes.

    Attributes:
        folder: the same; the caller may keep files of results there.
        tasks: their number.
    """

    def __init__(self, asked: Asked, folder: Path, log: Path) -> None:
        self.folder, self.tasks = folder, asked.tasks
        self._asked, self._log, self._round = asked, log, 0

    def __call__(self, function: Callable[[Any], Any], jobs: Iterable[Any], /) -> Iterator[Any]:
        """The function's results, in the order of its arguments.

        Args:
            function: of a module, as every task imports it.
            jobs: an argument each; those with a ``size`` are dealt by it.

        Raises:
            StageError: a task ended early, or was handed to Slurm and goes on there.
            UserError: an argument's own, when its turn comes.
        """
        folder = self.folder / f"{self._round:02}"
        self._round += 1
        given = list(jobs)
        if not given:
            return iter(())
        folder.mkdir(parents=True, exist_ok=True)
        for rank, numbers in enumerate(dealt(given, self.tasks)):
            with (folder / f"task-{rank:05}").open("wb") as file:
                pickle.dump((function, [(at, given[at]) for at in numbers]), file)
        if self._asked.kind == "datatrove":
            self._local(folder, len(given))
        else:
            from tools.data.spread import slurm

            slurm.run(folder, self._asked)
        return (_result(folder / f"result-{at:05}") for at in range(len(given)))

    def _local(self, folder: Path, jobs: int) -> None:
        """Every task by a local executor of its own, as datatrove does it on several machines.

        One executor with many workers waits for ever for a worker that was killed
        (findings/datatrove-0.10-waits-for-a-killed-worker.sh).
        """
        # Ours first: a task imports the very modules that run here.
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        command = [sys.executable, "-m", "tools.data.spread.task", str(folder)]
        started: list[subprocess.Popen[bytes]] = []
        with contextlib.ExitStack() as stack, self._log.open("ab") as log:
            for rank in range(self.tasks):
                process = subprocess.Popen(
                    [*command, str(rank), str(self.tasks)],
                    stdin=subprocess.PIPE,  # its end tells a task that this process is no more
                    stdout=log,
                    stderr=log,
                    env=environment(PYTHONPATH=path),
                    start_new_session=True,  # Ctrl+C is ours to pass on
                )
                stack.callback(_end, process)
                started.append(process)
            with bar(jobs, "data", "part") as progress:
                while any(process.poll() is None for process in started):
                    time.sleep(_EVERY)
                    progress.update(sum(1 for _ in folder.glob("result-*")) - progress.n)
        codes = {rank: one.returncode for rank, one in enumerate(started) if one.returncode}
        if codes:
            raise StageError(self._ended_early(codes))

    def _ended_early(self, codes: dict[int, int]) -> str:
        killed = {rank: -code for rank, code in codes.items() if code < 0}
        hows = [
            f"task {rank} was killed by signal {killed[rank]}"
            if rank in killed
            else f"task {rank} failed with code {code}"
            for rank, code in codes.items()
        ]
        memory = "; where memory runs out the system kills so" if 9 in killed.values() else ""
        return (
            f"data: {len(codes)} of {self.tasks} tasks ended early ({', '.join(hows)}{memory}); no "
            f"row was written, what the others read is kept: the same command goes on from there "
            f"(log: {self._log})"
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a task and whatever it started: datatrove has a manager beside each."""
    assert process.stdin
    process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _result(path: Path) -> Any:
    with path.open("rb") as file:
        found, error = pickle.load(file)
    if error is not None:
        raise failed(error)
    return found


def dealt(jobs: Sequence[Any], tasks: int) -> list[list[int]]:
    """Numbers of jobs for each task, the largest first, each to the task that has least so far."""
    found: list[list[int]] = [[] for _ in range(tasks)]
    loads = [0] * tasks
    sizes = [getattr(job, "size", 1) for job in jobs]
    for at in sorted(range(len(jobs)), key=lambda one: -sizes[one]):
        least = loads.index(min(loads))
        found[least].append(at)
        loads[least] += sizes[at]
    return found


@contextlib.contextmanager
def executor(run: Run, word: str) -> Iterator[Datatrove | None]:
    """What the command line asks for; None: all in this process.

    What tasks did is kept beside the run's data when one ended early, and only then.
    """
    if not word:
        yield None
        return
    how = asked(word)
    key = digest([run.fingerprint("data"), how.kind, how.tasks])[:12]
    folder = run.path / f".data.{key}.tasks"
    for other in run.path.glob(".data.*.tasks"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    again = ", going on with what is there" if folder.is_dir() else ""
    log = run.logs / "data-tasks.log"
    say(f"data: reading by {how.kind} in {how.tasks} tasks{again} (log: {log})")
    try:
        yield Datatrove(how, folder, log)
    except (StageError, KeyboardInterrupt):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
