"""``plan --probe``: three real steps at the longest packed length, measured beside predicted."""

import contextlib
import dataclasses
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import axolotl, base_model
from tools.errors import StageError, UserError
from tools.files import write_text
from tools.plan.memory import CONTEXT, Job, adapter_parameters, optimizer_state_bytes
from tools.plan.verdict import GIB, Plan, share_verdict
from tools.run.folder import Run

STEPS = 3
_PEAK = "memory/max_allocated (GiB)"  # as Axolotl's trainer logs them
_SPEED = "tokens/train_per_sec_per_gpu"
# Of the recipe, what three steps have no use for.
_OFF = {
    "max_steps": STEPS,
    "logging_steps": 1,
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "warmup_steps": 0,
}
_NO_USE = ("test_datasets", "eval_steps", "evals_per_epoch", "save_steps", "saves_per_epoch",
           "metric_for_best_model", "warmup_ratio", "greater_is_better",
           "early_stopping_patience")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What three steps took.

    Attributes:
        peak: largest allocation on a card, bytes; what torch allocates, so no paged optimizer.
        tokens_per_second: of all cards, in the fastest step (the first compiles).
    """

    peak: float
    tokens_per_second: float


def probe(found: Plan, runs: Path) -> Measured:
    """Train three steps on rows of full length; the scratch folder is removed.

    Raises:
        UserError: no GPU here.
        StageError: the steps failed, for lack of memory perhaps.
    """
    import torch

    if found.recipe.hardware.device != "cuda" or not torch.cuda.is_available():
        raise UserError(
            f"PROBE=1 measures on a GPU: {found.recipe.hardware.name} has none here; leave PROBE "
            "out for the prediction, or call it on the machine with the card"
        )
    return three_steps(found, runs)


def three_steps(found: Plan, runs: Path) -> Measured:
    """The steps themselves, on whatever device the recipe names."""
    with _scratch(found, runs) as run:
        config = _config(found, run)
        events: list[axolotl.Event] = []
        axolotl.call(run, "train", config, _plugins(found), events.append)
    logs = [event for event in events if event.get("event") == "log"]
    if not any(_PEAK in event for event in logs):
        raise StageError("probe: Axolotl logged no memory, so no step was made")
    speeds = [event[_SPEED] for event in logs if _SPEED in event]
    return Measured(
        peak=max(event[_PEAK] for event in logs if _PEAK in event) * GIB,
        tokens_per_second=max(speeds, default=0.0) * found.job.gpus,
    )


def render(found: Plan, measured: Measured) -> str:
    """Predicted beside measured, and the verdict on what was measured."""
    # The formula's total holds both, what torch counted holds neither.
    unseen, real = CONTEXT + _paged(found.job), measured.peak
    predicted = found.peak.total - unseen
    verdict = share_verdict((real + unseen) / found.card)
    slow, quick = found.speed.low, found.speed.high
    return "\n".join(
        [
            f"probe: {STEPS} steps of {found.job.tokens:,} tokens a pass: memory {verdict}",
            f"  allocated, GiB   predicted {predicted / GIB:.1f}, measured {real / GIB:.1f} "
            f"({predicted / real - 1:+.0%})",
            f"  tokens/s         predicted {slow:,.0f} to {quick:,.0f}, measured "
            f"{measured.tokens_per_second:,.0f}",
        ]
    )


def _paged(job: Job) -> float:
    """States of a paged optimizer: bitsandbytes asks CUDA for them, past torch's allocator."""
    if "paged" not in job.optimizer:
        return 0.0
    return adapter_parameters(job) * optimizer_state_bytes(job.optimizer, job.adapter_bytes)


@contextlib.contextmanager
def _scratch(found: Plan, runs: Path) -> Iterator[Run]:
    """A run folder beside the recipe's own, gone afterwards."""
    recipe = dataclasses.replace(found.recipe, name=f"{found.recipe.name}-probe")
    run = Run(recipe, runs)
    run.path.mkdir(parents=True, exist_ok=True)
    try:
        yield run
    finally:
        shutil.rmtree(run.path, ignore_errors=True)


def _config(found: Plan, run: Run) -> Path:
    """The recipe's own Axolotl file, with rows of full length and nothing but training."""
    import yaml

    path = axolotl.render(run, base_model.local_folder(run.recipe.model))
    config: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = run.path / "rows.jsonl"
    write_text(rows, _rows(found))
    config = {key: value for key, value in config.items() if key not in _NO_USE}
    config |= {**_OFF, "datasets": [{"path": str(rows), "ds_type": "json"}]}
    config |= {
        "dataset_prepared_path": str(run.path / "prepared"),
        "output_dir": str(run.path / "out"),
    }
    write_text(path, axolotl.as_yaml(config))
    return path


def _rows(found: Plan) -> str:
    """Rows of random words, each as long as a pack, enough for all steps."""
    job, words = found.job, random.Random(found.recipe.data.seed)
    count = STEPS * job.micro_batch * job.accumulation * job.gpus
    lines = []
    for _ in range(count):
        ids = words.choices(range(job.arch.vocab), k=job.sequence)
        lines.append(
            json.dumps({"input_ids": ids, "labels": ids, "attention_mask": [1] * len(ids)})
        )
    return "\n".join(lines) + "\n"


def _plugins(found: Plan) -> dict[str, Any]:
    # It tells each log line as an event, which the figures are read from.
    mine = "tools.axolotl.plugin.OnedayPlugin"
    return {"plugins": [*found.recipe.train.get("plugins", []), mine]}
