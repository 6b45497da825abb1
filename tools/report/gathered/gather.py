"""Everything a report shows, as one value: ``report.json``. A part that fails says so, no more."""

import math
from collections.abc import Callable
from typing import Any

from tools import __version__
from tools.errors import UserError
from tools.recipe.redact import redact
from tools.report.gathered import proofs, records, resources, rows, swept, training, worker
from tools.report.gathered.judged import changes, mistakes, scores, standing, versus
from tools.report.gathered.source import UNREADABLE, Missing, Part, Source
from tools.run.folder import SWEEP
from tools.run.provenance import MANIFEST

# By its name, what gathers a part, and the target that makes what it reads.
PARTS: dict[str, tuple[Callable[[Source], Part], str]] = {
    "scores": (scores.scores, "eval"),
    "versus": (versus.versus, "eval"),
    "ranking": (standing.standing, "eval"),
    "sweep": (swept.sweep, "sweep"),
    "training": (training.training, "train"),
    "day": (resources.day, "train"),
    "memory": (resources.memory, "plan"),
    "proofs": (proofs.proofs, "quantize"),
    "worker": (worker.worker, "eval"),
    "data": (rows.data, "data"),
    "changes": (changes.changes, "eval"),
    "mistakes": (mistakes.mistakes, "eval"),
    "rules": (records.rules, "eval"),
    "contamination": (records.contamination, "eval"),
    "manifest": (records.manifest, "day"),
}


def gather(source: Source, options: str = "") -> dict[str, Any]:
    """All parts; each is what it found, or ``{"missing": why, "command": what makes it}``.

    ``versus`` is there only where another run was named, ``sweep`` where one was made.

    Args:
        source: the run.
        options: the recipe as Make takes it, such as `` HW=cpu``, for the commands.

    Raises:
        UserError: there is no run to report on, or its manifest is damaged.
    """
    run = source.run
    if not (run.path / MANIFEST).is_file():
        raise UserError(f"{run.path}: nothing was made there yet; first: make day{options}")
    finished = [record["finished"] for record in run.manifest()]
    found = {
        "oneday": __version__,
        "run": run.recipe.name,
        "model": run.recipe.model.id,
        "card": run.recipe.hardware.name,
        "adapter": run.recipe.train.get("adapter") or "full",
        "format": run.recipe.quantize.format,
        "finished": max(finished, default=None),
        "checks": _checks(source),
        "parts": {
            name: _part(part, target, source, options)
            for name, (part, target) in PARTS.items()
            if _wanted(name, source)
        },
    }
    cleaned: dict[str, Any] = clean(found)
    return cleaned


def _wanted(part: str, source: Source) -> bool:
    """Whether a part has anything to be about: most runs have no sweep, and no run beside them."""
    if part == "sweep":
        return source.run.output(SWEEP).is_dir()
    return part != "versus" or source.other is not None


def _part(part: Callable[[Source], Part], target: str, source: Source, options: str) -> Part:
    try:
        return part(source)
    except Missing as missing:
        return {"missing": str(missing), "command": f"make {missing.target}{options}"}
    except UNREADABLE as error:
        why = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error)
        return {"missing": f"cannot be read ({redact(why)})", "command": f"make {target}{options}"}


def _checks(source: Source) -> Part:
    """The figures by which merge and quantize proved their work."""
    names = {
        "merge": ("max_logit_diff", "max_logit_change"),
        "quantize": ("merged_perplexity", "quantized_perplexity", "perplexity_ratio", "kl", "top1"),
    }
    records = {stage: source.run.record(stage) for stage in names}
    return {
        name: record.get("metrics", {}).get(name)
        for stage, record in records.items()
        if record
        for name in names[stage]
    }


def clean(value: Any) -> Any:
    """The value as any JSON reader takes it: no NaN, no half of a character."""
    if isinstance(value, dict):
        return {clean(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value
