"""How many tokens a recipe trains on: as made by the data stage, or as far as the recipe says."""

import math
from dataclasses import dataclass
from pathlib import Path

from tools.data.mix import times
from tools.plan.job import Job
from tools.plan.speed import BYTES_A_TOKEN, TOKENS_A_ROW
from tools.recipe.schema import Recipe, Source
from tools.recipe.written import settled
from tools.run.folder import Run
from tools.run.local_files import is_local, local_files


@dataclass(frozen=True)
class Workload:
    """What is to be computed.

    Attributes:
        tokens: trained, all epochs; 0 when nothing is known.
        evaluated: tokens of all evaluations, which cost a forward pass.
        how: where the number comes from.
        missing: sources whose number of rows is not known before ``make data``.
        steps: optimizer steps of the whole training; 0 when they are not known.
    """

    tokens: float
    evaluated: float
    how: str
    missing: tuple[str, ...] = ()
    steps: int = 0


def workload(recipe: Recipe, job: Job, runs: Path) -> Workload:
    """Count the tokens of a whole training.

    Args:
        recipe: its data, epochs and steps.
        job: as :func:`tools.plan.job.job` makes it.
        runs: where run folders live; rows made there for this very data section are counted.
    """
    rows, row_tokens, how, missing = _rows(recipe, runs)
    if job.arch.encoder:
        rows, row_tokens, how = _apart(rows, row_tokens, how, recipe.data.shots)
    steps, packed = recipe.train.get("max_steps"), bool(recipe.train.get("sample_packing"))
    if steps and steps > 0:
        length = job.sequence if packed else min(row_tokens, job.sequence)
        a_step = length * job.micro_batch * job.accumulation * job.gpus
        tokens, how, missing = steps * a_step, f"{steps:,} steps of {a_step:,.0f}", ()
    else:
        epochs = recipe.train.get("num_epochs") or 1
        tokens = rows * row_tokens * epochs
        how += f" x {epochs:g} epochs" if epochs != 1 else ""
        steps = 0 if missing else _steps(rows, row_tokens, job, packed, epochs)
    evaluated = _evaluations(recipe, job, tokens) * recipe.data.validation_rows * row_tokens
    return Workload(float(tokens), evaluated, how, missing, int(steps))


def _apart(rows: int, row_tokens: float, how: str, shots: int) -> tuple[int, float, str]:
    """Rows of models with an encoder: an answer each, with all that stands before it.

    Of a row with k answers come k, the j-th as long as j answers: (k + 1) / 2 rows' tokens. Rows
    have 1 to ``shots`` answers, as many of each number.
    """
    answers = (shots + 1) / 2
    longer = (answers + 1) / 2
    return (
        round(rows * answers),
        row_tokens * longer / answers,
        f"{how}, {answers:g} answers a row, each learnt apart",
    )


def _steps(rows: int, row_tokens: float, job: Job, packed: bool, epochs: float) -> int:
    """Optimizer steps: so many rows each, or packs as full as can be."""
    a_step = job.micro_batch * job.accumulation * job.gpus
    if packed:
        return math.ceil(rows * row_tokens / (job.sequence * a_step) * epochs)
    return math.ceil(math.ceil(rows / a_step) * epochs)


def _rows(recipe: Recipe, runs: Path) -> tuple[int, float, str, tuple[str, ...]]:
    """Number of rows, tokens of one, in words, and the sources not counted."""
    if made := _made(recipe, runs):
        rows, size = made
        how = f"{rows:,} rows made, {size / 1e6:,.1f} MB at {BYTES_A_TOKEN} bytes a token"
        return rows, size / BYTES_A_TOKEN / rows, how, ()
    sources = recipe.data.sources
    counts = {name: _count(source) for name, source in sources.items()}
    rows = sum(times(count or 0, sources[name].weight) for name, count in counts.items())
    missing = tuple(name for name, count in counts.items() if count is None)
    weighted = " by weight" if any(source.weight != 1 for source in sources.values()) else ""
    how = f"{rows:,} rows{weighted} x {TOKENS_A_ROW} tokens (assumed)"
    return rows, TOKENS_A_ROW, how, missing


def _made(recipe: Recipe, runs: Path) -> tuple[int, int] | None:
    """Rows and bytes of the data stage's training rows, when made from the same data section."""
    run = Run(recipe, runs)
    record, file = run.record("data"), run.output("data") / "train.jsonl"
    if not record or not file.is_file():
        return None
    # Not by the fingerprint: for that every local file would be read and hashed.
    if record["inputs"]["recipe"].get("data") != settled(recipe)["data"]:
        return None
    return record["metrics"]["train_rows"], file.stat().st_size


def _count(source: Source) -> int | None:
    """Rows of a source, None when only reading or downloading it would tell."""
    files = local_files(source) if is_local(source) else []
    if files and all(file.suffix == ".jsonl" for file in files):
        there = sum(map(_lines, files))
        return min(there, source.rows or there)
    return source.rows


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _evaluations(recipe: Recipe, job: Job, tokens: float) -> float:
    """How often the held-out rows are gone through."""
    train = recipe.train
    if train.get("eval_strategy") == "epoch":
        return float(train.get("num_epochs") or 1)
    every = train.get("eval_steps")
    if train.get("eval_strategy") != "steps" or not every:
        return 0.0
    if every < 1:  # a share of all steps
        return 1 / every
    return tokens / (job.tokens * job.accumulation * job.gpus) / every
