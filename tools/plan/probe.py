"""``plan --probe``: three real steps at the longest packed length, measured beside predicted.

First of the recipe as it is, then of the few fastest settings by formula, in under five minutes.
The fastest that fits is written as a layer, and every measurement kept for the next plan.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import axolotl, base_model
from tools.console import say
from tools.errors import StageError, UserError
from tools.files import write_text
from tools.plan import probes, propose
from tools.plan.job import Job
from tools.plan.memory import CONTEXT, adapter_parameters, optimizer_state_bytes
from tools.plan.remedy import Train
from tools.plan.verdict import GIB, Plan, share_verdict
from tools.recipe.compose import RECIPES, shown
from tools.run.folder import Run

STEPS = 3
SECONDS, MOST = 280.0, 3  # of all settings together; of those that are proposed
TUNED = RECIPES / "tuned"
_PASSES = 2  # of a step that is measured: in the second one gradients of the first are there
_PACKAGES = ("axolotl", "bitsandbytes", "liger-kernel", "peft", "torch", "transformers")
_SEAL = "# as written: "  # before a digest of the other lines
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


@dataclass(frozen=True)
class Trial:
    """A setting that was tried.

    Attributes:
        train: what it changes of the recipe; empty for the recipe as it is.
        settings: the same as ``SET=`` takes it.
        plan: with it.
        measured: None when its steps failed.
        failure: why they did.
    """

    train: Train
    settings: str
    plan: Plan
    measured: Measured | None
    failure: str = ""

    @property
    def fits(self) -> bool:
        """Whether what was measured leaves the card the room that a plan asks for."""
        if self.measured is None:
            return False
        share = (self.measured.peak + _unseen(self.plan.job)) / self.plan.card
        return share_verdict(share) != "does not fit"

    @property
    def speed(self) -> float:
        """Tokens a second, 0 when its steps failed."""
        return self.measured.tokens_per_second if self.measured else 0.0


def report(found: Plan, runs: Path) -> str:
    """Try the recipe and the best proposals, keep what was measured; what came of it, in words.

    Raises:
        UserError: no GPU here.
    """
    _demand_card(found)
    made = trials(found, runs)
    lines = [line for trial in made for line in _told(trial)]
    lines += [_kept(made, runs), *_tuned(found, made)]
    return "\n".join(lines)


def trials(
    found: Plan,
    runs: Path,
    steps: Callable[[Plan, Path], Measured] | None = None,
    most: int = MOST,
    seconds: float = SECONDS,
) -> list[Trial]:
    """The recipe and the best proposals, as many as the time allows.

    Args:
        found: the recipe as it is.
        runs: where run folders live.
        steps: measures a plan; :func:`three_steps` by default.
        most: how many proposals.
        seconds: for all; the next is begun when the longest so far would still end in time.
    """
    begun, longest, made = time.monotonic(), 0.0, list[Trial]()
    asked: list[tuple[Train, str, Plan]] = [({}, "", found)]
    asked += [(one.train, one.settings, one.plan) for one in propose.candidates(found, runs, most)]
    for train, settings, one in asked:
        start = time.monotonic()
        if made and start - begun + longest > seconds:
            say(f"probe: no time left for {settings}")
            continue
        say(f"probe: {STEPS} steps of {settings or 'the recipe as it is'}")
        try:
            made.append(Trial(train, settings, one, (steps or three_steps)(one, runs)))
        except StageError as error:
            made.append(Trial(train, settings, one, None, str(error)))
        longest = max(longest, time.monotonic() - start)
    return made


def _told(trial: Trial) -> list[str]:
    head = [f'SET="{trial.settings}"'] if trial.settings else []
    if trial.measured is None:
        reason = trial.failure.strip().splitlines()
        return [*head, f"probe: failed: {reason[0] if reason else 'no reason told'}"]
    return [*head, render(trial.plan, trial.measured)]


def _kept(made: list[Trial], runs: Path) -> str:
    """Keep every measurement beside the runs; where, or why not."""
    import torch

    name = torch.cuda.get_device_name()
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    card = next((one.plan.recipe.hardware for one in made), None)
    # A recipe may be tried on another card than its own: its peak is not this one's.
    known = probes.tflops(name)
    peak = card.tflops if card and card.capability == capability and not known else known
    if not peak:
        return f"probe: not kept: the bf16 peak of {name} is not known here"
    path = runs / probes.NAME
    for one in made:
        if one.measured and one.measured.peak and one.measured.tokens_per_second:
            size, speed = one.measured.peak / GIB, one.measured.tokens_per_second
            job = dataclasses.replace(one.plan.job, accumulation=_passes(one.plan))
            probe = probes.Probe(name, capability, peak, job, size, speed, versions())
            path = probes.keep(runs, probe)
    return f"probe: kept in {path}; the next plan goes by it"


def versions() -> dict[str, str]:
    """Of what trains, by package."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _tuned(found: Plan, made: list[Trial]) -> Iterator[str]:
    """Write the fastest that fits as a layer; what was written, and how it is used."""
    best = max((one for one in made if one.fits), key=lambda one: one.speed, default=None)
    if best is None:
        yield "probe: nothing that was tried fits"
        return
    if not best.train:
        yield "probe: the recipe as it is is the fastest of what fits"
        return
    path, spared = _write_layer(found, best, made)
    if spared:
        yield f"probe: {shown(spared)} was changed since it was written, so it is left as it is"
    now = next((one.speed for one in made if not one.train), 0.0)
    than = f", {best.speed / now:.2f} x the recipe as it is" if now else ""
    yield f"probe: wrote {shown(path)}: {best.speed:,.0f} tokens/s{than}"
    yield f"  defaults: [{found.recipe.name}, tuned/{path.stem}]"


def _write_layer(found: Plan, best: Trial, made: list[Trial]) -> tuple[Path, Path | None]:
    """The layer's path, and that of one of the same name that its user has changed."""
    name = f"{found.recipe.name}-{found.recipe.hardware.name}"
    path, spared = TUNED / f"{name}.yaml", None
    if path.exists() and not _as_written(path.read_text(encoding="utf-8")):
        path, spared = TUNED / f"{name}-new.yaml", path
    TUNED.mkdir(parents=True, exist_ok=True)
    text = _layer(found, best, made, path.stem)
    write_text(path, f"{text}{_SEAL}{_digest(text)}\n")
    return path, spared


def _layer(found: Plan, best: Trial, made: list[Trial], name: str) -> str:
    packages = ", ".join(f"{package} {version}" for package, version in versions().items())
    lines = [
        "# yaml-language-server: $schema=../schema.json",
        f"# Measured by make plan PROBE=1 on {_card_name()}: {packages}.",
        f"# Of {found.recipe.model.id}, {STEPS} steps of rows of full length each.",
        f"# Compose it last: defaults: [{found.recipe.name}, tuned/{name}]",
        "#",
        "#  tokens/s    GiB  settings",
    ]
    for one in sorted(made, key=lambda one: -one.speed):
        size = f"{one.measured.peak / GIB:.1f}" if one.measured else "-"
        told = one.settings or "the recipe as it is"
        told += "" if one.fits else " (failed)" if one.measured is None else " (does not fit)"
        lines.append(f"# {one.speed:>9,.0f} {size:>6}  {told}")
    return "\n".join(lines) + "\n" + axolotl.as_yaml({"train": best.train})


def _card_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "this machine's CPU"


def _as_written(text: str) -> bool:
    """Whether a layer is as PROBE=1 left it."""
    body, seal, digest = text.rpartition(_SEAL)
    return bool(seal) and digest.strip() == _digest(body)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def probe(found: Plan, runs: Path) -> Measured:
    """Train three steps on rows of full length; the scratch folder is removed.

    Raises:
        UserError: no GPU here.
        StageError: the steps failed, for lack of memory perhaps.
    """
    _demand_card(found)
    return three_steps(found, runs)


def _demand_card(found: Plan) -> None:
    import torch

    if not found.job.causal:
        raise UserError(
            f"PROBE=1 measures Axolotl's steps, and Axolotl trains causal models: "
            f"{found.recipe.model.id} has an encoder; leave PROBE out for the prediction"
        )
    if found.recipe.hardware.device != "cuda" or not torch.cuda.is_available():
        raise UserError(
            f"PROBE=1 measures on a GPU: {found.recipe.hardware.name} has none here; leave PROBE "
            "out for the prediction, or call it on the machine with the card"
        )


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
    unseen, real = _unseen(found.job), measured.peak
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


def _unseen(job: Job) -> float:
    """Bytes that the card holds and torch's allocator does not count."""
    return CONTEXT + _paged(job)


def _passes(found: Plan) -> int:
    return min(found.job.accumulation, _PASSES)


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
    config |= {**_OFF, "gradient_accumulation_steps": _passes(found)}
    config |= {"datasets": [{"path": str(rows), "ds_type": "json"}]}
    prepared = run.path / "prepared"
    shutil.rmtree(prepared, ignore_errors=True)  # a killed probe's: other rows, or half of them
    config |= {
        "dataset_prepared_path": str(prepared),
        "output_dir": str(run.path / "out"),
    }
    write_text(path, axolotl.as_yaml(config))
    return path


def _rows(found: Plan) -> str:
    """Rows of random words, each as long as a pack, enough for all steps."""
    job, words = found.job, random.Random(found.recipe.data.seed)
    count = STEPS * job.micro_batch * _passes(found) * job.gpus
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
