"""How many rows of each source are held out: for validation, HELM's questions, its examples."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tools.recipe.schema import Data, Source

if TYPE_CHECKING:
    from tools.data.sources import Found

FEW_SHOT_POOL = 8  # questions a skill keeps for HELM's in-context examples; HELM shows 3 to 5
EXAMPLES = 3  # in-context examples of a short answer, as tools.evaluate.helm.plugin asks


def is_asked(source: Source) -> bool:
    """Whether HELM asks rows of it: not of sets whose recipe says no kind of answers."""
    if source.kind == "generator":
        return True
    if source.form == "chat_template" and not source.answer:
        return False  # HELM sends texts, in which serving reads no special token by itself
    return source.answer != "none" and (bool(source.answer) or source.kind == "local")


def is_bounded(source: Source) -> bool:
    """Whether only a share of it may be held out: a maker just makes more."""
    return (source.kind != "generator" and is_asked(source)) or source.kind == "local"


def wanted(data: Data) -> dict[str, dict[str, int]]:
    """By source and split, the rows that the recipe asks for; bounds come later."""
    asked = [name for name, source in data.sources.items() if is_asked(source)]
    share = {
        "test": _dealt(data.test_rows, asked),
        "shots": dict.fromkeys(asked if data.test_rows else _makers(data), FEW_SHOT_POOL),
        "validation": _dealt(data.validation_rows, list(data.sources)),
    }
    return {
        name: {split: counts.get(name, 0) for split, counts in share.items()}
        for name in data.sources
    }


def _makers(data: Data) -> list[str]:
    return [name for name, source in data.sources.items() if source.kind == "generator"]


def _dealt(total: int, names: list[str]) -> dict[str, int]:
    """``total`` dealt out evenly; the first ones get what is left over."""
    return {name: total // len(names) + (i < total % len(names)) for i, name in enumerate(names)}


def bounded(
    counts: Mapping[str, int], there: int, share: float, found: "Found", data: Data
) -> dict[str, int]:
    """The counts within the share of a source that may be held out; told where that is less.

    Args:
        counts: wanted, by split.
        there: rows of the source.
        share: of them, at most, 0 to 1.
        found: the source, whose account is told.
        data: the recipe's section.
    """
    counts = dict(counts)
    if found.answers in ("text", "none"):
        # Long answers are asked without examples.
        counts["shots"] = 1 if counts["test"] and found.answers == "text" else 0
    if found.answers == "none":
        counts["test"] = 0
    total, most = sum(counts.values()), int(share * there)
    if total <= most:
        return counts
    few = {split: most * count // total for split, count in counts.items()}
    few["validation"] = max(few["validation"], min(most, 1, counts["validation"]))
    few["shots"] = min(counts["shots"], max(few["shots"], min(EXAMPLES, most // 4)))
    few["test"] = max(0, min(counts["test"], most - few["shots"] - few["validation"]))
    parts = ", ".join(f"{few[split]} of {counts[split]} for {_WORDS[split]}" for split in _WORDS)
    found.account.told.append(
        f"{sum(few.values())} of {there:,} rows held out, at most {share:.0%} "
        f"(data.held_out_share): {parts}"
    )
    return few


_WORDS = {"test": "HELM's questions", "shots": "its examples", "validation": "validation"}


def none_held_out(data: Data, sources: "dict[str, Found]") -> str:
    """The message where no source has a row to spare for validation."""
    there = ", ".join(f"{name} has {len(one.pairs)} rows" for name, one in sources.items())
    return (
        f"data.validation_rows: no row can be held out for validation: {there}, and "
        f"data.held_out_share allows {data.held_out_share:.0%}; add rows, or raise the share"
    )
