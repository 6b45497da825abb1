"""The check verb: may the recipe take part, and can its card do it? Before anything is run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tools.compose import RECIPES
from tools.faults import nearest
from tools.recipe import Loaded
from tools.schema import Recipe, Source

Verdict = Literal["pass", "warn", "fail"]
# What one rule found: nothing when all is well, else verdict, message, remedy.
Said = Iterator[tuple[Verdict, str, str]]
DEMO = "demo track: not eligible"


@dataclass(frozen=True)
class Finding:
    """What one rule says.

    Attributes:
        rule: its name.
        verdict: ``fail`` stops a run, ``warn`` does not.
        message: what is so, with the values.
        remedy: what to do about it; empty for ``pass``.
        reference: where the rule comes from.
    """

    rule: str
    verdict: Verdict
    message: str
    remedy: str
    reference: str


@dataclass(frozen=True)
class Rule:
    """A rule to check.

    Attributes:
        name: for the report.
        reference: where it comes from.
        find: yields what is wrong.
        eligibility: true when it decides who may take part, false when it decides what can work.
    """

    name: str
    reference: str
    find: Callable[[Recipe, Any], Said]
    eligibility: bool


def check(loaded: Loaded, track: str | None = None) -> list[Finding]:
    """Hold a recipe against every rule, all of them, in order.

    Args:
        loaded: the recipe.
        track: judge it for this track instead of its hardware's. In no track, faults of eligibility
            are warnings.
    """
    from omegaconf import OmegaConf

    rules = OmegaConf.to_container(OmegaConf.load(RECIPES / "rules.yaml"))
    judged = track or loaded.recipe.hardware.track
    findings = [_track(loaded.recipe, judged)]
    for rule in RULES:
        demo = rule.eligibility and judged == "none"
        findings += _apply(rule, loaded.recipe, rules, demo)
    return findings


def _track(recipe: Recipe, track: str) -> Finding:
    reference, card = "rules §1", recipe.hardware
    if track == "none":
        return Finding(
            "track", "warn", f"{DEMO}", "take HW=4090 or HW=a100 to take part", reference
        )
    if track != card.track:
        said = f"hardware.name is {card.name}, of track {card.track}, not {track}"
        return Finding("track", "fail", said, f"compose hardware/{track}", reference)
    return Finding("track", "pass", f"track {track}", "", reference)


def _apply(rule: Rule, recipe: Recipe, rules: Any, demo: bool) -> Iterator[Finding]:
    clean = True
    for verdict, message, remedy in rule.find(recipe, rules):
        clean = False
        if demo and verdict == "fail":
            verdict, message = "warn", f"{message} ({DEMO})"
        yield Finding(rule.name, verdict, message, remedy, rule.reference)
    if clean:
        yield Finding(rule.name, "pass", "holds", "", rule.reference)


def render(findings: list[Finding]) -> str:
    """A line a finding, the remedy below it, and the sum."""
    lines = []
    for finding in findings:
        head = f"{finding.verdict:<4}  {finding.rule}: {finding.message} [{finding.reference}]"
        lines += [head, f"      {finding.remedy}"] if finding.remedy else [head]
    counts = {kind: sum(f.verdict == kind for f in findings) for kind in ("pass", "warn", "fail")}
    lines.append("check: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return "\n".join(lines)


def exit_code(findings: list[Finding]) -> int:
    """0 when nothing failed, else 2."""
    return 2 if any(finding.verdict == "fail" for finding in findings) else 0


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _one_of(name: str, known: list[str]) -> bool:
    return _plain(name) in map(_plain, known)


def _family(recipe: Recipe, rules: Any) -> Said:
    family, known = recipe.model.family, rules["families"]
    if not _one_of(family, known):
        said = (
            f"model.family {family} is not on the list of approved families{nearest(family, known)}"
        )
        yield "fail", said, f"take a base model of: {', '.join(known)}"


def _base(recipe: Recipe, rules: Any) -> Said:
    if recipe.model.instruct:
        said = f"{recipe.model.id}: an instruct model is not eligible for the challenge"
        yield "fail", said, "take the base model it was made from"


def _model_licence(recipe: Recipe, rules: Any) -> Said:
    licence, known = recipe.model.licence, rules["model_licences"]
    if not _one_of(licence, known):
        yield "fail", f"model.licence {licence} is not accepted", f"accepted: {', '.join(known)}"


def _data_licence(recipe: Recipe, rules: Any) -> Said:
    known = rules["data_licences"]
    for name, source in recipe.data.sources.items():
        if not _one_of(source.licence, known):
            said = f"data.sources.{name}.licence {source.licence} is not a known open licence"
            yield "fail", f"{said}{nearest(source.licence, known)}", f"open are: {', '.join(known)}"


def _origin(recipe: Recipe, rules: Any) -> Said:
    for name, source in recipe.data.sources.items():
        if why := _refused(source, recipe, rules):
            said = f"data.sources.{name}.origin {source.origin}: {why}"
            yield (
                "fail",
                said,
                "leave the source out, or filter those rows and name who made the rest",
            )


def _refused(source: Source, recipe: Recipe, rules: Any) -> str:
    """Why the rows' maker is not accepted, empty when it is."""
    origin = _plain(source.origin)
    if _one_of(origin, rules["origins"]):
        return ""
    if any(_plain(name) in origin for name in rules["refused_origins"]):
        return "rows written by ChatGPT, GPT-4 and their like are not allowed"
    if "llama2" in origin:
        same = _plain(recipe.model.family) == "llama2"
        return "" if same else "rows made by Llama 2 may only feed Llama 2"
    if any(_plain(family) in origin for family in rules["families"]):
        return ""
    return "neither human, program nor an approved base model"


def _hours(recipe: Recipe, rules: Any) -> Said:
    budget, most = recipe.budget, rules["max_hours"]
    if not 0 < budget.hours <= most:
        yield "fail", f"budget.hours is {budget.hours:g}", f"set it above 0 and up to {most}"
    if not 0 <= budget.reserve_minutes < 60 * budget.hours:
        said = (
            f"budget.reserve_minutes is {budget.reserve_minutes:g} of {60 * budget.hours:g} minutes"
        )
        yield "fail", said, "leave most of the day to training"


def _quantize_format(recipe: Recipe, rules: Any) -> Said:
    card, wanted = recipe.hardware, recipe.quantize.format
    if wanted not in card.quantize_formats:
        why = " (fp8 needs compute capability 8.9)" if wanted == "fp8" else ""
        said = f"quantize.format {wanted} does not run on {card.name}{why}"
        yield "fail", said, f"set quantize.format to one of {', '.join(card.quantize_formats)}"


def _length(recipe: Recipe, rules: Any) -> Said:
    length, longest = recipe.train.get("sequence_len") or 512, recipe.model.context
    served, most = recipe.serve.context, rules["max_tokens"]
    if length > longest:
        said = f"train.sequence_len {length} is more than {recipe.model.id} can see"
        yield "fail", said, f"set it to {longest} or less"
    if length > most and not recipe.train.get("sample_packing"):
        said = f"train.sequence_len {length} is above the contract's {most} tokens, unpacked"
        yield "warn", said, f"set it to {most}, or train.sample_packing=true"
    if served > longest:
        said = f"serve.context {served} is more than {recipe.model.id} can see"
        yield "fail", said, f"set it to {min(longest, most)}"
    if served != most:
        said = f"serve.context is {served}, the contract's length is {most}"
        yield "warn", said, f"set it to {most}"


def _pad(recipe: Recipe, rules: Any) -> Said:
    if recipe.model.pad == recipe.model.eos:
        said = (
            f"model.pad and model.eos are both {recipe.model.eos}: padding is masked, eos with it"
        )
        yield "fail", said, "set model.pad to another token, or the model never learns to stop"


def _adapter(recipe: Recipe, rules: Any) -> Said:
    adapter, four = recipe.train.get("adapter"), bool(recipe.train.get("load_in_4bit"))
    if adapter == "qlora" and not four:
        yield "fail", "train.adapter is qlora without load_in_4bit", "set train.load_in_4bit=true"
    if adapter == "lora" and four:
        yield "fail", "train.adapter is lora with load_in_4bit", "set train.adapter=qlora"


_AMPERE = 8  # major compute capability of the first cards with bf16


def _major(capability: str) -> int:
    major = capability.partition(".")[0]
    return int(major) if major.isdigit() else 0


def _bf16(recipe: Recipe, rules: Any) -> Said:
    card = recipe.hardware
    able = card.device == "cuda" and _major(card.capability) >= _AMPERE
    if recipe.train.get("bf16") is True and not able:
        said = f"train.bf16 is true, {card.name} has no bf16 of its own"
        yield "fail", said, "set train.bf16=false"


_SEVERAL = ("tensor_parallel_size", "context_parallel_size", "dp_shard_size", "dp_replicate_size")


def _one_gpu(recipe: Recipe, rules: Any) -> Said:
    train = recipe.train
    wanted = [key for key in _SEVERAL if (train.get(key) or 1) > 1]
    wanted += [key for key in ("fsdp", "fsdp_config") if train.get(key)]
    for key in wanted:
        yield (
            "fail",
            f"train.{key} is for several GPUs, the challenge has one",
            f"--set '~train.{key}'",
        )


def _pinned(recipe: Recipe, rules: Any) -> Said:
    model, sources = recipe.model, recipe.data.sources
    loose = ["model.revision"] if model.source == "hub" and not model.revision else []
    loose += [
        f"data.sources.{name}.revision"
        for name, source in sources.items()
        if source.kind == "hub" and not source.revision
    ]
    for key in loose:
        said = f"{key} is empty: a rerun may get other content, and does not count"
        yield "warn", said, "set it to the hub's commit"


def _tier(recipe: Recipe, rules: Any) -> Said:
    tier, known = recipe.eval.tier, recipe.eval.tiers
    if tier not in known:
        said = f"eval.tier {tier} is not in eval.tiers{nearest(tier, known)}"
        yield "fail", said, f"there are: {', '.join(known)}"


RULES = [
    Rule("family", "rules §1", _family, eligibility=True),
    Rule("base model", "rules §1", _base, eligibility=True),
    Rule("model licence", "rules §1", _model_licence, eligibility=True),
    Rule("data licence", "rules §1", _data_licence, eligibility=True),
    Rule("data origin", "rules §1", _origin, eligibility=True),
    Rule("budget", "rules §1", _hours, eligibility=True),
    Rule("one GPU", "rules §1", _one_gpu, eligibility=True),
    Rule("reproducible", "rules §1", _pinned, eligibility=True),
    Rule("quantize format", "vLLM's table of hardware", _quantize_format, eligibility=False),
    Rule("lengths", "rules §1", _length, eligibility=False),
    Rule("padding", "model", _pad, eligibility=False),
    Rule("adapter", "Axolotl", _adapter, eligibility=False),
    Rule("bf16", "CUDA compute capability", _bf16, eligibility=False),
    Rule("eval tier", "recipe", _tier, eligibility=False),
]
