"""What would make a recipe fit: the smallest changes to its ``train`` section, with their costs."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.plan import sides
from tools.plan.memory import optimizer_state_bytes, peak
from tools.plan.verdict import GIB, TIGHT, Plan, exit_code, plan, share_verdict
from tools.recipe.schema import Recipe

Train = dict[str, Any]
Offer = tuple[Train, str]  # values by key of train, and their cost
_LEAST_LENGTH = 512


@dataclass(frozen=True)
class Change:
    """Settings, what they cost, and the plan with them."""

    train: Train
    cost: str
    plan: Plan

    @property
    def settings(self) -> str:
        """As ``SET=`` takes them."""
        return " ".join(_words("train", self.train))


def changes(found: Plan, runs: Path) -> list[Change]:
    """Each change that is enough alone or, when none is, the first few that are together.

    Empty when the plan fits, and when nothing would help.
    """
    if exit_code(found) == 0 or found.day <= 0:
        return []
    offered = list(_offers(found))
    alone = [_changed(found.recipe, offer, runs) for offer in offered]
    enough = [change for change in alone if exit_code(change.plan) == 0]
    return enough or [change for change in _together(found, offered, runs)[-1:] if _fits(change)]


def render(found: Plan, runs: Path) -> str:
    """The changes, or why there are none; empty when the plan fits."""
    if exit_code(found) == 0:
        return ""
    if found.day <= 0:
        budget = dataclasses.replace(found.recipe.budget, reserve_minutes=_least_reserve(found))
        mended = plan(dataclasses.replace(found.recipe, budget=budget), runs)
        return "\n\n".join(filter(None, [_no_day(found), render(mended, runs)]))
    offers = changes(found, runs)
    if not offers:
        return _hopeless(found, runs)
    lines = ["to make it fit" + (", each alone is enough" if len(offers) > 1 else "")]
    for change in offers:
        lines.append(f'  SET="{change.settings}"')
        lines.append(f"      {_outcome(change.plan)}; cost: {change.cost}")
    return "\n".join(lines)


def as_json(offers: list[Change]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "set": change.settings,
            "cost": change.cost,
            "verdict": change.plan.verdict,
            "peak_bytes": round(change.plan.peak.total),
            "hours": dataclasses.asdict(change.plan.hours) if change.plan.hours else None,
        }
        for change in offers
    ]


def _fits(change: Change) -> bool:
    return exit_code(change.plan) == 0


def _words(key: str, value: Any) -> Iterator[str]:
    """``key=value``, of a mapping for each key below it."""
    if isinstance(value, dict):
        for below, one in value.items():
            yield from _words(f"{key}.{below}", one)
    else:
        yield f"{key}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _outcome(found: Plan) -> str:
    hours = f", {found.hours.low:.1f} to {found.hours.high:.1f} hours" if found.hours else ""
    return f"{found.verdict}: {found.peak.total / GIB:.1f} GiB{hours}"


def _least_reserve(found: Plan) -> float:
    """Minutes: as large a part of the day as two hours are of 24."""
    return found.recipe.budget.hours * 60 / 12


def _no_day(found: Plan) -> str:
    """The reserve takes the whole day: no setting of training and no card gives it back."""
    budget, keep = found.recipe.budget, _least_reserve(found)
    return (
        f"budget.reserve_minutes {budget.reserve_minutes:g} of budget.hours {budget.hours:g} leave "
        "nothing to training: they are kept for merge and quantize\n"
        f'  SET="budget.reserve_minutes={keep:g}"\n'
        f"      {budget.hours - keep / 60:.1f} hours to train; merging and quantizing a 7B model "
        "takes 20 to 40 minutes"
    )


def _hopeless(found: Plan, runs: Path) -> str:
    """Why no setting of training helps."""
    weights, card = found.peak.weights / GIB, found.card / GIB
    if weights > card:
        need = (found.peak.weights + found.peak.context) / GIB / TIGHT
        return (
            f"the weights alone are {weights:.1f} GiB ({found.job.method}), the card has "
            f"{card:.1f}: take a smaller base, or a card of more than {need:.0f} GiB"
        )
    least = _together(found, list(_offers(found)), runs)
    if not least:
        return "it is the disk or the host's memory: see above; no setting of train changes that"
    settings, total = least[-1].settings, least[-1].plan.peak.total / GIB
    return (
        f'even with SET="{settings}" it does not: {total:.1f} of {card:.1f} GiB; take a smaller '
        f"base, or a card of more than {total / TIGHT:.0f} GiB"
    )


def _changed(recipe: Recipe, offer: Offer, runs: Path) -> Change:
    train, cost = offer
    altered = dataclasses.replace(recipe, train={**recipe.train, **train})
    return Change(train, cost, plan(altered, runs))


def _together(found: Plan, offered: list[Offer], runs: Path) -> list[Change]:
    """The offers added up one by one, until it fits or none is left."""
    train: Train = {}
    costs: list[str] = []
    steps = []
    for added, cost in offered:
        train, costs = train | added, [*costs, cost]
        steps.append(_changed(found.recipe, (train, "; ".join(costs)), runs))
        if _fits(steps[-1]):
            break
    return steps


def _offers(found: Plan) -> Iterator[Offer]:
    """Changes, the cheapest first."""
    if found.judged["memory"] == "does not fit":
        yield from _same_result(found)
        yield from _other_result(found)
    if found.judged.get("time") == "does not fit":
        yield from _less_time(found)


def _same_result(found: Plan) -> Iterator[Offer]:
    """Less memory for the same training."""
    job, on_gpu = found.job, found.recipe.hardware.device == "cuda"
    if job.loss == "hf" and job.causal:
        yield {"chunked_cross_entropy": True}, "none: the same loss, computed in pieces"
    if not job.checkpointing and sides.checkpoints(job):
        slower = "layers are computed twice (torchtune measured 21 % less speed)"
        yield {"gradient_checkpointing": True}, slower
    if job.micro_batch > 1:
        batch = _batch_that_fits(found)
        # Rounded up: a step must not see fewer rows than before.
        rest = -(-job.micro_batch * job.accumulation // batch)
        halved = {"micro_batch_size": batch, "gradient_accumulation_steps": rest}
        yield halved, "smaller passes, which use the card less well"
    if on_gpu and not job.offload and job.causal:
        offload = {"gradient_checkpointing": True, "activation_offloading": True}
        yield offload, "layer inputs go to host memory and back (torchtune: 0.1 % less speed)"


def _other_result(found: Plan) -> Iterator[Offer]:
    """Less memory for another training."""
    job = found.job
    if job.method == "full":
        adapter = {"adapter": "lora", "lora_r": 16, "lora_alpha": 32, "lora_target_linear": True}
        yield adapter, "adapters are trained instead of all weights"
    size = job.compute_bytes if job.method == "full" else job.adapter_bytes
    if optimizer_state_bytes(job.optimizer, size) > optimizer_state_bytes("8bit", size):
        yield {"optimizer": "paged_adamw_8bit"}, "optimizer states in 8 bit"
    if job.method != "qlora" and job.causal:
        four = {"adapter": "qlora", "load_in_4bit": True, "load_in_8bit": False}
        if job.method == "full":
            four |= {"lora_r": 16, "lora_alpha": 32, "lora_target_linear": True}
        yield four, "the base in 4 bit, 25 to 36 % slower (Qwen's and litgpt's tables)"
    if job.rank > 8 and job.method != "full":
        yield _half_rank(found), "half as large an adapter"
    if job.sequence > _LEAST_LENGTH:
        length = job.sequence // 2
        yield {"sequence_len": length}, f"rows of more than {length:,} tokens are dropped"


def _less_time(found: Plan) -> Iterator[Offer]:
    train = found.recipe.train
    packs = found.recipe.hardware.device == "cuda" and found.job.causal
    if packs and not train.get("sample_packing"):
        yield {"sample_packing": True}, "none where attention tells packed rows apart"
    if found.hours is None:
        return
    share = found.day / ((found.hours.low + found.hours.high) / 2)
    cost = f"{1 - share:.0%} less training; the middle of the predicted hours is the day"
    if steps := train.get("max_steps"):
        yield {"max_steps": max(1, int(steps * share))}, cost
    else:
        epochs = (train.get("num_epochs") or 1) * share
        yield {"num_epochs": int(epochs) if epochs >= 2 else float(f"{epochs:.2g}")}, cost


def _batch_that_fits(found: Plan) -> int:
    """The largest half, quarter, … of the micro-batch that fits, else 1."""
    batch = found.job.micro_batch // 2
    while batch > 1:
        smaller = dataclasses.replace(found.job, micro_batch=batch)
        if share_verdict(peak(smaller).total / found.card) != "does not fit":
            break
        batch //= 2
    return batch


def _half_rank(found: Plan) -> Train:
    """With lora_alpha halved, too: their ratio scales what the adapter adds."""
    halved: Train = {"lora_r": found.job.rank // 2}
    if alpha := found.recipe.train.get("lora_alpha"):
        halved["lora_alpha"] = max(1, alpha // 2)
    return halved
