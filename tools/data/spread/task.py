"""One task of a datatrove pipeline: ``python -m tools.data.spread.task FOLDER RANK TASKS``."""

import os
import pickle
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import UserError

LOG = "datatrove"  # datatrove's own folder: logs, statistics, and a mark for each complete task


@dataclass(frozen=True)
class Step:
    """The pipeline's one step: calls a function with the arguments of its rank.

    Attributes:
        folder: has ``task-RANK``; the results go there, too.
    """

    folder: Path

    def __call__(self, data: Any, rank: int, world_size: int) -> None:
        """Do what the task's file says; as datatrove calls a step.

        Args:
            data: what the step before gives; there is none.
            rank: of the task.
            world_size: number of tasks.
        """
        with (self.folder / f"task-{rank:05}").open("rb") as file:
            function, jobs = pickle.load(file)
        for number, job in jobs:
            whole = self.folder / f"result-{number:05}"
            if whole.exists():  # of an earlier call, in which this task was killed later on
                continue
            found: tuple[Any, Any]
            try:
                found = function(job), None
            except UserError as error:
                found = None, error.faults
            except OSError as error:
                found = None, error
            # Whole or not there, also when this process is killed while it writes.
            part = self.folder / f".result-{number:05}"
            with part.open("wb") as file:
                pickle.dump(found, file)
            part.replace(whole)


def failed(error: Any) -> Exception:
    """The fault that a task met, as it would have been raised here."""
    return error if isinstance(error, OSError) else UserError(error)


def _end_with_parent() -> None:
    """End when the process that started this one is no more, however it ended."""
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.killpg(0, signal.SIGKILL)


def main(folder: Path, rank: int, tasks: int) -> None:
    """Do one task, unless it is complete.

    Args:
        folder: of the pipeline.
        rank: of the task.
        tasks: how many there are.
    """
    from datatrove.executor.local import LocalPipelineExecutor

    LocalPipelineExecutor(
        [Step(folder)],
        tasks=tasks,
        workers=1,
        logging_dir=str(folder / LOG),
        local_tasks=1,
        local_rank_offset=rank,
    ).run()


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
