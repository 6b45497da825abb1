"""The plan verb: does the recipe fit its card and its day? Nothing is run or downloaded for it."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools.base_model import experts
from tools.day.steps import beyond
from tools.plan import job as jobs
from tools.plan import probes, serving, sides
from tools.plan.disk import Disk, disk, merge_memory, quantize_memory
from tools.plan.job import Job
from tools.plan.memory import Peak, peak
from tools.plan.probes import Probe
from tools.plan.serving import Offer
from tools.plan.speed import Range, hours, nearest, passes, tokens_per_second
from tools.plan.workload import Workload, workload
from tools.recipe.arch import active_parameters, embedding_parameters, parameters
from tools.recipe.schema import Recipe

Verdict = Literal["fits", "tight", "does not fit"]
GIB = 2**30
# Shares of what there is. The formula is off by up to 8 % (15 without checkpointing), mostly less:
# from the first on, a plan wants a probe; above the second it is refused.
TIGHT, FULL = 0.92, 0.95
_WORST: tuple[Verdict, ...] = ("fits", "tight", "does not fit")


@dataclass(frozen=True)
class Plan:
    """What a recipe needs, beside what there is.

    Attributes:
        recipe: what was planned.
        job: what it trains.
        peak: of the card's memory, bytes by part.
        speed: tokens a second, of all cards.
        work: tokens to train on.
        hours: of training, None when the number of tokens is not known.
        disk: bytes by what lies there.
        host: bytes of host memory that merging takes.
        quantize_host: the same of quantizing; 0 where nothing is.
        judged: verdict on memory, time, disk and host memory, by name.
        probe: the measured run that speed was taken from; None for published ones.
        offers: every format that the model may be served in.
    """

    recipe: Recipe
    job: Job
    peak: Peak
    speed: Range
    work: Workload
    hours: Range | None
    disk: Disk
    host: float
    quantize_host: float
    judged: dict[str, Verdict]
    probe: Probe | None = None
    offers: list[Offer] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return max(self.judged.values(), key=_WORST.index)

    @property
    def card(self) -> float:
        """Bytes the card has."""
        return self.recipe.hardware.memory_gib * GIB

    @property
    def day(self) -> float:
        """Hours left to training."""
        return self.recipe.budget.hours - self.recipe.budget.reserve_minutes / 60


def plan(recipe: Recipe, runs: Path) -> Plan:
    """Predict what a recipe needs.

    Args:
        recipe: the resolved recipe.
        runs: where run folders live; rows made there are counted.

    Raises:
        UserError: the model's numbers are not known, or the kept probes cannot be read.
    """
    job = jobs.job(recipe)
    work = workload(recipe, job, runs)
    measured, packed = probes.known(runs), bool(recipe.train.get("sample_packing"))
    speed = tokens_per_second(job, recipe.hardware, packed, measured)
    # An evaluation only goes forward: one pass of all that a trained token takes.
    cost = work.tokens + work.evaluated / passes(job)
    found = Plan(
        recipe=recipe,
        job=job,
        peak=peak(job),
        speed=speed,
        work=work,
        hours=hours(cost, speed) if work.tokens else None,
        disk=disk(job, recipe),
        host=merge_memory(job, recipe),
        quantize_host=quantize_memory(job, recipe),
        judged={},
        probe=nearest(job, recipe.hardware, measured),
        offers=serving.offers(recipe, job),
    )
    return dataclasses.replace(found, judged=_judge(found))


def exit_code(found: Plan) -> int:
    """2 when it does not fit, else 0."""
    return 2 if found.verdict == "does not fit" else 0


def share_verdict(share: float) -> Verdict:
    """The verdict on a share of what there is."""
    return "fits" if share <= TIGHT else "tight" if share <= FULL else "does not fit"


def _judge(found: Plan) -> dict[str, Verdict]:
    card = found.recipe.hardware
    judged: dict[str, Verdict] = {"memory": share_verdict(found.peak.total / found.card)}
    if found.hours:
        sweep = found.recipe.sweep
        # What trials may use is not the training's; of the winner a part is trained by then.
        judged["time"] = _in_time(found.hours, found.day * (1 - (sweep.share if sweep else 0)))
    if card.disk_gb:
        judged["disk"] = share_verdict(found.disk.total / (card.disk_gb * 1e9))
    if card.host_memory_gib:
        judged["host memory"] = share_verdict(_host(found) / (card.host_memory_gib * GIB))
    return judged


def _host(found: Plan) -> float:
    """The stages come one after the other."""
    return max(found.host, found.quantize_host)


def _in_time(needed: Range, day: float) -> Verdict:
    if needed.low > day:
        return "does not fit"
    return "tight" if needed.high > day else "fits"


def render(found: Plan) -> str:
    """The verdict in one line, then what it rests on."""
    lines = [
        _headline(found),
        *_unmergeable(found.recipe),
        "",
        *_memory(found),
        "",
        *_time(found),
        "",
        *_rest(found),
        "",
        *serving.render(found.offers, found.recipe),
    ]
    return "\n".join(lines)


def _unmergeable(recipe: Recipe) -> list[str]:
    """What no stage takes that comes after training, in the words of check."""
    return [f"plan: {said}; {experts.REMEDY}" for _, said in experts.trained(recipe)]


def as_json(found: Plan) -> dict[str, Any]:
    """The same for programs: bytes, hours, tokens."""
    parts = {**dataclasses.asdict(found.peak), "total": found.peak.total, "card": found.card}
    return {
        "recipe": found.recipe.name,
        "verdict": found.verdict,
        "judged": found.judged,
        "parameters": dict(zip(("total", "active"), _parameters(found.job), strict=True)),
        "memory_bytes": {name: round(size) for name, size in parts.items()},
        "tokens_per_s": dataclasses.asdict(found.speed),
        "tokens": round(found.work.tokens) or None,
        "rows_unknown": list(found.work.missing),
        "steps": found.work.steps or None,
        "beyond_the_last_step": [one.said for one in beyond(found.recipe.train, found.work.steps)],
        "hours": dataclasses.asdict(found.hours) if found.hours else None,
        "day_hours": found.day,
        "disk_bytes": {name: round(size) for name, size in dataclasses.asdict(found.disk).items()},
        "merge_host_bytes": round(found.host),
        "formats": serving.as_json(found.offers),
        "quantize_host_bytes": round(found.quantize_host),
    }


def _headline(found: Plan) -> str:
    name, card = found.recipe.name, found.recipe.hardware
    needs = f"{_gib(found.peak.total)} of {_gib(found.card)} GiB on {card.name}"
    if found.hours:
        needs += f", {_range(found.hours, '{:.1f}')} of {found.day:.1f} hours"
    because = [what for what, verdict in found.judged.items() if verdict == found.verdict]
    why = "" if found.verdict == "fits" else f" ({', '.join(because)})"
    hint = "; measure it: make plan PROBE=1" if found.judged["memory"] == "tight" else ""
    return f"plan: {name} {found.verdict}{why}: {needs}{hint}"


def _memory(found: Plan) -> list[str]:
    job, train = found.job, found.recipe.train
    notes = {
        "weights": _weights(found),
        "adapters": f"rank {job.rank}" if job.method != "full" else "",
        "optimizer": f"gradients and states, {job.optimizer}",
        "activations": f"{_pass(job)}, {_kept(job)}",
        "logits": f"{_loss(job)}, {job.arch.vocab:,} words",
        "context": "CUDA, allocator" if found.recipe.hardware.device == "cuda" else "libraries",
    }
    lines = ["memory, GiB (predicted peak of a step)"]
    for name, size in dataclasses.asdict(found.peak).items():
        lines.append(_line(name, _gib(size), notes[name]))
    rows = "packed" if train.get("sample_packing") else "at their longest"
    share = f"{found.peak.total / found.card:.0%} of {_gib(found.card)}; rows {rows}"
    if job.gpus > 1:
        share += f"; each of {job.gpus} processes"
    return [*lines, _line("peak", _gib(found.peak.total), share)]


def _pass(job: Job) -> str:
    """The tokens of a pass; with an encoder of prompts, which have no logits, and of answers."""
    said = f"{job.tokens:,} tokens a pass"
    return f"{said} of prompts, {sides.places(job):,} of answers" if job.arch.encoder else said


def _loss(job: Job) -> str:
    if job.arch.encoder:
        return f"of {sides.places(job):,} tokens of answers alone"
    return f"{job.loss.replace('_', ' ')} loss"


def _weights(found: Plan) -> str:
    """The model and its form; of a mixture also how much of it there is, and works for a token."""
    job = found.job
    said = f"{found.recipe.model.id}, {job.method}, {job.base_bytes:.3g} bytes a weight"
    if not job.arch.experts:
        return said
    total, active = (f"{count / 1e9:.1f}" for count in _parameters(job))
    if job.base_bytes != job.compute_bytes:
        said += f" but {job.compute_bytes} of experts"
    return f"{said}; {total} B in all, {active} B of them for a token"


def _parameters(job: Job) -> tuple[int, int]:
    """Of the base: all, and those that a token goes through."""
    return parameters(job.arch), active_parameters(job.arch) + embedding_parameters(job.arch)


def _kept(job: Job) -> str:
    if not job.checkpointing:
        return "no checkpointing"
    how = "checkpointing, inputs in host memory" if job.offload else "checkpointing"
    return f"{how}, kept: {', '.join(job.saved)}" if job.saved else how


def _time(found: Plan) -> list[str]:
    work, fits = found.work, found.speed.scaled(found.day * 3600 / 1e6)
    lines = [
        "time",
        _line("tokens/s", _range(found.speed, "{:,.0f}"), _by(found)),
    ]
    if found.hours:
        lines.append(_line("tokens", _millions(work.tokens), work.how))
        budget = found.recipe.budget
        of = f"{found.day:.1f} = {budget.hours:g} less {budget.reserve_minutes:g} minutes"
        lines.append(_line("hours", _range(found.hours, "{:.1f}"), f"of {of} of reserve"))
    if work.steps:
        lines.append(_line("steps", f"{work.steps:,}", "of the optimizer, in all"))
    for one in beyond(found.recipe.train, work.steps):
        lines.append(f"  warning: {one.said}; {one.remedy}")
    if work.missing:
        unknown = f"rows of {', '.join(work.missing)}: not known before make data, not counted"
        lines.append(_line("", "", unknown))
    return [*lines, _line("the day", _range(fits, "{:,.0f}") + " M", "tokens fit in it")]


def _by(found: Plan) -> str:
    if found.recipe.hardware.device == "cpu":
        return "as the demo reached on two cores"
    if found.probe is None:
        return "as published runs reached"
    same = found.probe.capability == found.recipe.hardware.capability
    return f"by a probe of {found.probe.card}" + ("" if same else ", by share of peak")


def _rest(found: Plan) -> list[str]:
    card, parts = found.recipe.hardware, dataclasses.asdict(found.disk)
    listed = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in parts.items() if size)
    limit = f" of {card.disk_gb:g}" if card.disk_gb else ""
    if not found.recipe.train.get("save_total_limit"):
        listed += "; train.save_total_limit is unset, so every checkpoint stays"
    host = f" of {card.host_memory_gib:g}" if card.host_memory_gib else ""
    how = f"to merge, {found.recipe.merge.method if found.job.method != 'full' else 'whole'}"
    if found.quantize_host:
        how = f"{_gib(found.host)} {how}; {_gib(found.quantize_host)} to quantize"
    return [
        _line("disk", f"{found.disk.total / 1e9:.1f}{limit} GB", listed, indent=False),
        _line("host", f"{_gib(_host(found))}{host} GiB", how, indent=False),
    ]


def _line(name: str, value: str, note: str, indent: bool = True) -> str:
    head = f"  {name}" if indent else name
    return f"{head:<14}{value:>16}   {note}".rstrip()


def _gib(size: float) -> str:
    return f"{size / GIB:.1f}"


def _range(found: Range, form: str) -> str:
    return f"{form.format(found.low)} to {form.format(found.high)}"


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"
