"""The same pipeline by datatrove's Slurm executor; the run folder lies where every node sees it."""

import os
import subprocess
import sys
from pathlib import Path

from tools.data.spread.executor import ROOT, Asked
from tools.data.spread.task import LOG, Step
from tools.errors import StageError, UserError


def run(folder: Path, asked: Asked) -> None:
    """Hand the tasks that are not complete to Slurm.

    Args:
        folder: of the pipeline.
        asked: tasks, partition, time and other options of ``sbatch``.

    Raises:
        StageError: the tasks go on there; called again when they are complete, it returns.
        UserError: there is no Slurm here, or it refuses the job.
    """
    from datatrove.executor.slurm import SlurmPipelineExecutor

    folder = folder.resolve()
    programs = os.pathsep.join((str(Path(sys.executable).parent), "$PATH"))
    options = dict(asked.options)
    executor = SlurmPipelineExecutor(
        [Step(folder)],
        tasks=asked.tasks,
        time=options.pop("time"),
        partition=options.pop("partition"),
        job_name="oneday-data",
        qos="",
        sbatch_args=options,
        env_command=f'cd "{Path.cwd()}"; export PATH="{programs}" PYTHONPATH="{ROOT}:$PYTHONPATH"',
        logging_dir=str(folder / LOG),
    )
    if not executor.get_incomplete_ranks():
        return
    note = folder / "job"
    if note.is_file() and (job := note.read_text().strip()) and _goes_on(job):
        raise StageError(_told(job))
    try:
        executor.run()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"EXECUTOR={asked.kind}: sbatch cannot be called ({error})") from None
    note.write_text(str(executor.job_id))
    if executor.get_incomplete_ranks():
        raise StageError(_told(str(executor.job_id)))


def _goes_on(job: str) -> bool:
    words = ["squeue", "--noheader", "--jobs", job]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())


def _told(job: str) -> str:
    return (
        f"data: Slurm has the tasks as job {job}; no row is written yet, and when they are done "
        "the same command goes on from there"
    )
