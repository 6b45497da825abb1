"""The fastest settings that fit, by formula: proposed as ``SET=`` lines beside the verdict.

A small space is gone through whole: passes of other sizes with as many tokens a step, layers
computed once, matrices whose products are kept, Liger's loss and norms, no dropout, an optimizer of
8 bits. What saves operations is preferred, then what changes the fewest keys. Nothing is proposed
whose gain nobody published or counted: torch.compile, Liger's RoPE, giving up Axolotl's kernels.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.plan import job as jobs
from tools.plan.job import Job
from tools.plan.memory import optimizer_state_bytes, peak
from tools.plan.remedy import Change, Offer, Train
from tools.plan.speed import cost
from tools.plan.verdict import GIB, TIGHT, Plan, plan
from tools.recipe.schema import Data, Source

_LIGER = "axolotl.integrations.liger.LigerPlugin"
# Families of the model types llama, mistral and qwen2, whose loss and norms Liger replaces whole
# (0.8.4: liger_kernel.transformers.monkey_patch.MODEL_TYPE_TO_APPLY_LIGER_FN).
_LIGER_FAMILIES = {"LLaMA", "Llama 2", "Mistral", "OpenLLaMA", "Qwen", "SmolLM2"}
_LIGER_BOTH = {"liger_fused_linear_cross_entropy", "liger_rms_norm"}
_LEAST_GAIN = 1.03  # less is within what the formula cannot tell
_SHORTEST = 1024  # tokens of a row; and of a pass, below which nobody published a speed
_MADE_WORDS = 128  # no question of our makers has as many; the longest seen has 105
_TOKENS_A_WORD = 2048 / (300 * 4)  # recipes/base.yaml: 4 questions of 300 words stay within 2,048
_SAME = "what is learnt stays as it is"


@dataclass(frozen=True)
class Proposal(Change):
    """A change that is worth its while.

    Attributes:
        gain: how many times faster than the recipe as it is, by operations.
    """

    gain: float


def proposals(found: Plan, runs: Path) -> list[Proposal]:
    """At most two: the fastest that leaves what is learnt as it is, and one faster than that.

    Empty when the card's memory is too small (remedies come first), on a CPU, of models with an
    encoder, which Axolotl does not train, and when nothing is worth it.
    """
    if found.judged["memory"] == "does not fit" or not _axolotls(found):
        return []
    made: list[Proposal] = []
    least, ranked = _LEAST_GAIN, _ranked(found)
    for fair in ([one for one in ranked if one.says.endswith(_SAME)], ranked):
        if fair and fair[0].gain >= least:
            made.append(_proposal(found, fair[0], runs))
            least = fair[0].gain * _LEAST_GAIN
    return made


def candidates(found: Plan, runs: Path, most: int) -> list[Proposal]:
    """The best of all by formula, for a card to decide between: tight ones, too.

    Args:
        found: the recipe as it is.
        runs: where run folders live.
        most: how many.
    """
    if not _axolotls(found):
        return []
    worth = [one for one in _ranked(found) if one.gain >= _LEAST_GAIN]
    # What Liger's kernels are worth in speed is not counted, so a card is asked.
    fused = [one for one in worth if one.train.keys() >= _LIGER_BOTH]
    picked = {one.says: one for one in [*worth[:1], *fused[:1], *_different(worth)]}
    return [_proposal(found, one, runs) for one in itertools.islice(picked.values(), most)]


def _axolotls(found: Plan) -> bool:
    """Whether Axolotl trains it on a card: all that is proposed is its."""
    return found.recipe.hardware.device == "cuda" and found.job.causal


def render(made: list[Proposal]) -> str:
    """A ``SET=`` line each, with what it brings and changes; empty when there is none."""
    if not made:
        return ""
    lines = ["faster, by formula; measure it before a day: make plan PROBE=1"]
    for one in made:
        lines += [f'  SET="{one.settings}"', f"      {_outcome(one)}", f"      {one.cost}"]
    return "\n".join(lines)


def as_json(made: list[Proposal]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "set": one.settings,
            "gain": round(one.gain, 3),
            "says": one.cost,
            "peak_bytes": round(one.plan.peak.total),
            "hours": dataclasses.asdict(one.plan.hours) if one.plan.hours else None,
        }
        for one in made
    ]


def _outcome(one: Proposal) -> str:
    found = one.plan
    hours = f", {found.hours.low:.1f} to {found.hours.high:.1f} hours" if found.hours else ""
    used = f"{found.peak.total / GIB:.1f} of {found.card / GIB:.1f} GiB"
    return (
        f"uses {found.peak.total / found.card:.0%}: about {one.gain:.1f} x faster than now; "
        f"{used}{hours}"
    )


@dataclass(frozen=True)
class _Fitting:
    """A point of the space that fits the card."""

    train: Train
    says: str
    gain: float
    size: float


def _proposal(found: Plan, one: _Fitting, runs: Path) -> Proposal:
    recipe = dataclasses.replace(found.recipe, train={**found.recipe.train, **one.train})
    return Proposal(one.train, one.says, plan(recipe, runs), one.gain)


def _ranked(found: Plan) -> list[_Fitting]:
    """What fits, the fastest first; of the equally fast the one with the fewest changes."""
    now, fitting = cost(found.job), []
    # Read once: it may be a file of the model's.
    model = dataclasses.replace(found.recipe.model, arch=found.job.arch)
    for train, says in _space(found):
        both = {**found.recipe.train, **train}
        job = jobs.job(dataclasses.replace(found.recipe, model=model, train=both))
        size = peak(job).total
        if size <= TIGHT * found.card:
            fitting.append(_Fitting(train, says, now / cost(job), size))
    return sorted(fitting, key=lambda one: (-round(one.gain, 2), len(one.train), one.size))


def _different(ranked: Iterable[_Fitting]) -> Iterator[_Fitting]:
    """Of those that are equally fast the first alone."""
    seen: set[float] = set()
    for one in ranked:
        if round(one.gain, 2) not in seen:
            seen.add(round(one.gain, 2))
            yield one


def _space(found: Plan) -> Iterator[Offer]:
    """Every combination of the levers, joined."""
    same = [_passes(found), _layers(found), _loss(found), _norms(found)]
    for chosen in itertools.product(*same, _dropout(found), _optimizer(found)):
        train: Train = {}
        for one, _ in chosen:
            train |= one
        if any(key.startswith("liger_") for key in train):
            train["plugins"] = _with_liger(found.recipe.train)
        said = [says for _, says in chosen if says]
        otherwise = any(one for one, _ in chosen[len(same) :])
        yield train, "; ".join([*said, *([] if otherwise else [_SAME])])


def _passes(found: Plan) -> list[Offer]:
    """Other sizes of a pass with the same tokens a step."""
    job = found.job
    offers: list[Offer] = [({}, "")]
    total = job.sequence * job.micro_batch * job.accumulation
    for sequence in _sequences(found):
        for power in range(8):
            batch, rest = 2**power, divmod(total, sequence * 2**power)
            # Larger passes gain nothing any more, smaller ones nobody published a speed of.
            sized = min(_SHORTEST, job.tokens) <= sequence * batch <= 2 * job.tokens
            as_now = (sequence, batch) == (job.sequence, job.micro_batch)
            if rest[1] or not rest[0] or as_now or not sized:
                continue
            train: Train = {"micro_batch_size": batch, "gradient_accumulation_steps": rest[0]}
            said = f"passes of {sequence * batch:,} tokens, {total:,} a step as before"
            if sequence != job.sequence:
                train["sequence_len"] = sequence
                said += f", rows of more than {sequence:,} dropped"
            offers.append((train, said))
    return offers


def _sequences(found: Plan) -> list[int]:
    """Lengths of a pack that hold every row ``data`` may make; unpacked rows keep theirs."""
    data, length = found.recipe.data, found.job.sequence
    lengths = [length]
    words = max((_longest(one, data) for one in data.sources.values()), default=data.max_words)
    longest = round(words * _TOKENS_A_WORD)
    while found.recipe.train.get("sample_packing") and length % 2 == 0:
        length //= 2
        if length < max(longest, _SHORTEST):
            break
        lengths.append(length)
    return lengths


def _longest(source: Source, data: Data) -> int:
    """Words of the longest row a source may give; those of short answers are joined to one."""
    if source.kind == "generator":
        return _MADE_WORDS * data.shots
    joined = source.kind == "local" or source.shape == "mcq" or source.answer
    alone = source.answer in ("text", "none") or source.form == "chat_template"
    return data.max_words * (data.shots if joined and not alone else 1)


def _layers(found: Plan) -> list[Offer]:
    """Layers computed once, or again but for some products."""
    job, train = found.job, found.recipe.train
    offers: list[Offer] = [({}, "")]
    if not job.checkpointing:
        return offers
    once: Train = {"gradient_checkpointing": False}
    also = ("activation_offloading", "selective_checkpointing")
    once |= {key: False for key in also if train.get(key)}
    offers.append((once, "layers are computed once"))
    # Within a kernel no product can be kept; LLM.int8's are of no kind that is kept.
    if not (job.kernels or job.offload or job.saved or train.get("load_in_8bit")):
        for names in _keeping(job, train):
            said = f"what {', '.join(names)} make of their input is kept, not computed again"
            keep = {"save": [], "save_modules": names}
            offers.append(({"selective_checkpointing": keep}, said))
    return offers


def _keeping(job: Job, train: Train) -> Iterator[list[str]]:
    """Names of modules whose products to keep, those that save the most operations a byte first."""
    targets = train.get("lora_target_modules")
    named = [str(name) for name in targets] if isinstance(targets, list) else []
    parts = {name: set(jobs.module_parts(name)) for name in named}
    for wanted in ({"down"}, {"down", "o"}, {"down", "o", "gate", "up"}):
        names = [name for name, its in parts.items() if its and its <= wanted]
        if names and set().union(*(parts[name] for name in names)) == wanted & set(job.adapted):
            yield names


def _loss(found: Plan) -> list[Offer]:
    if not _liger_fits(found) or found.job.loss not in ("hf", "chunked", "liger"):
        return [({}, "")]
    fused: Train = {"liger_fused_linear_cross_entropy": True}
    others = ("chunked_cross_entropy", "liger_cross_entropy")
    fused |= {key: False for key in others if found.recipe.train.get(key)}
    return [({}, ""), (fused, "Liger's loss never holds all logits")]


def _norms(found: Plan) -> list[Offer]:
    if not _liger_fits(found) or found.job.liger:
        return [({}, "")]
    norms: Train = {"liger_rms_norm": True}
    if "mlp" not in found.job.kernels:
        norms["liger_glu_activation"] = True
    return [({}, ""), (norms, "Liger's layers keep less, and round otherwise")]


def _dropout(found: Plan) -> list[Offer]:
    if not found.job.dropout:
        return [({}, "")]
    said = "without lora_dropout the adapters see all of their input: they learn a little otherwise"
    return [({}, ""), ({"lora_dropout": 0.0}, said)]


def _optimizer(found: Plan) -> list[Offer]:
    job = found.job
    size = job.compute_bytes if job.method == "full" else job.adapter_bytes
    if "adamw" not in job.optimizer or optimizer_state_bytes(job.optimizer, size) <= 2:
        return [({}, "")]
    name = "paged_adamw_8bit" if "paged" in job.optimizer else "adamw_8bit"
    return [({}, ""), ({"optimizer": name}, "AdamW's states are rounded to 8 bits")]


def _liger_fits(found: Plan) -> bool:
    recipe = found.recipe
    asked = any(recipe.train.get(key) for key in ("use_dft", "use_eaft", "cut_cross_entropy"))
    return recipe.model.family in _LIGER_FAMILIES and not asked


def _with_liger(train: Train) -> list[str]:
    listed = list(train.get("plugins") or ())
    return listed if _LIGER in listed else [*listed, _LIGER]
