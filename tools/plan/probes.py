"""Runs that were measured: those shipped here, and those that ``PROBE=1`` keeps beside the runs."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import write_json
from tools.plan.job import Job
from tools.recipe.fill import fill
from tools.recipe.schema import Architecture

SHIPPED = Path(__file__).with_name("probes.json")
NAME = "probes.json"  # in the folder of the runs
# By a part of a card's name: compute capability and dense bf16 TFLOP/s (datasheets).
CARDS = {
    "4090": ("8.9", 165.0),
    "a100": ("8.0", 312.0),
    "h100": ("9.0", 989.0),
    "h200": ("9.0", 989.0),
    "l40s": ("8.9", 362.0),
    "a10g": ("8.6", 70.0),
}


@dataclass(frozen=True)
class Probe:
    """A job that was measured on a card.

    Attributes:
        card: its name.
        capability: its CUDA compute capability.
        tflops: its dense bf16 peak, TFLOP/s.
        job: what was trained.
        peak_gib: largest allocation of torch's, GiB; without the context and a paged optimizer.
        tokens_per_s: of all cards together.
        versions: of the packages that trained, by name.
    """

    card: str
    capability: str
    tflops: float
    job: Job
    peak_gib: float
    tokens_per_s: float
    versions: dict[str, str]


def known(runs: Path) -> list[Probe]:
    """The shipped ones and the user's.

    Args:
        runs: where run folders live; the user's are in its ``probes.json``.

    Raises:
        UserError: that file is not of the form.
    """
    return [*_read(SHIPPED), *_read(runs / NAME)]


def tflops(card: str) -> float:
    """Dense bf16 peak of a card by its name, 0 when it is not known."""
    return next((peak for name, (_, peak) in CARDS.items() if name in card.lower()), 0.0)


def keep(runs: Path, probe: Probe) -> Path:
    """Add one to the user's; an earlier one of the same job on the same card goes."""
    path = runs / NAME
    others = [one for one in _read(path) if (one.card, one.job) != (probe.card, probe.job)]
    runs.mkdir(parents=True, exist_ok=True)
    write_json(path, [_stored(one) for one in [*others, probe]])
    return path


def _stored(probe: Probe) -> dict[str, Any]:
    """As JSON, without what a job has by default."""
    job = {
        field.name: value
        for field in dataclasses.fields(Job)
        if (value := getattr(probe.job, field.name)) != field.default
    }
    plain = dataclasses.asdict(probe)
    return {**plain, "job": {**job, "arch": dataclasses.asdict(probe.job.arch)}}


def _read(path: Path) -> list[Probe]:
    if not path.is_file():
        return []
    try:
        return [_probe(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not the probes that make plan PROBE=1 keeps ({error}); mend or remove it"
        ) from None


def _probe(stored: dict[str, Any]) -> Probe:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in stored["job"].items()
    }
    fields["arch"] = fill(Architecture, stored["job"]["arch"])
    made = Probe(**{**stored, "job": Job(**fields)})
    if not all(float(value) > 0 for value in (made.tflops, made.peak_gib, made.tokens_per_s)):
        raise ValueError("a figure that is not above 0")
    return made
