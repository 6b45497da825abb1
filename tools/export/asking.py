"""What llama.cpp answers of a GGUF, held against what the merged model answers.

Greedy text is compared id by id. Where llama.cpp first takes another token than the merged model,
it is a *tie* if the merged model's own best logit leads its second by less than ``TIE`` of the
type: there rounding decides, and what follows is another text for both. Anything else is a
difference. After a tie the rest of that prompt is not compared.

A lead is a share of how far the best logit stands above the mean of all: how large logits are
differs from model to model, and rounding is relative to it.
"""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any, Protocol

from tools.data.tokens import IGNORED, Row
from tools.errors import StageError
from tools.export.merged import Merged
from tools.stages import divergence, gate
from tools.stages.divergence import Apart

PROMPTS, STEPS = 50, 24
#: By type: the lead below which rounding chooses. F32's sums come in another order; F16 and BF16
#: round the weights themselves, to 11 and 8 bits (not those of a model merged in that type).
TIE = {"F32": 0.0005, "F16": 0.005, "BF16": 0.03}


class Text(Protocol):
    """What a merged model says by itself: the likeliest ids after each prompt, and their leads."""

    @property
    def greedy(self) -> list[list[int]]:
        """The ids."""

    @property
    def gaps(self) -> list[list[float]]:
        """The lead of each, as above."""


@dataclasses.dataclass(frozen=True)
class Greedy:
    """How greedy text compares.

    Attributes:
        prompts: asked.
        equal: all ids are the merged model's.
        ties: equal up to a place where the merged model's two best are as good as equal.
        ids: tokens compared.
        same: of them equal.
    """

    prompts: int
    equal: int
    ties: int
    ids: int
    same: int


def prompts_of(rows: list[Row], count: int = PROMPTS) -> list[list[int]]:
    """What stands before an answer: the first of each row, then the second of each.

    Args:
        rows: token ids and labels; a row may hold several questions.
        count: of prompts.
    """
    each = [
        [ids[:i] for i in range(1, len(ids)) if labels[i - 1] == IGNORED != labels[i]]
        for ids, labels in rows
    ]
    turns = (tuple(one) for turn in itertools.zip_longest(*each) for one in turn if one)
    return [list(one) for one in itertools.islice(dict.fromkeys(turns), count)]


def greedy(merged: Text, told: list[list[int]], tie: float) -> Greedy:
    """Compare greedy text of the merged model with what another program said of its file.

    Args:
        merged: the model's own answers.
        told: the other's ids, for each prompt.
        tie: where the best leads by less than this, two tokens are as good as equal.
    """
    equal = ties = ids = same = 0
    for own, gaps, theirs in zip(merged.greedy, merged.gaps, told, strict=True):
        first = next((i for i, (a, b) in enumerate(zip(own, theirs, strict=True)) if a != b), None)
        ids += len(own) if first is None else first + 1
        same += len(own) if first is None else first
        equal += first is None
        ties += first is not None and gaps[first] < tie
    return Greedy(len(told), equal, ties, ids, same)


def faults(kind: str, merged: Merged, told: dict[str, Any], most: float) -> list[str]:
    """What is wrong with a file, a line each.

    Args:
        kind: its type.
        merged: what is right.
        told: llama.cpp's answers.
        most: ratio of perplexities that is allowed.
    """
    found = [*_words(merged, told)]
    wrong = sum(a != b for a, b in zip(merged.tokens, told["tokens"], strict=True))
    if wrong:
        found.append(
            f"llama.cpp reads {wrong} of {len(merged.tokens)} held-out texts as other tokens than "
            "the model was trained on"
        )
    if kind in TIE:
        seen = greedy(merged, told["greedy"], TIE[kind])
        if other := seen.prompts - seen.equal - seen.ties:
            found.append(
                f"greedy text of {other} of {seen.prompts} prompts is not the merged one's"
            )
    ratio = perplexity(told) / merged.perplexity
    if not ratio <= most:  # so put, NaN does not pass
        found.append(
            f"perplexity is {ratio:.4f} times the merged model's, more than "
            f"quantize.max_perplexity_ratio = {most:g}; take a finer type"
        )
    return found


def _words(merged: Merged, told: dict[str, Any]) -> list[str]:
    """Special tokens and template."""
    wanted: dict[str, Any] = {"eos": merged.eos, "add_bos": merged.add_bos, "add_eos": False}
    if merged.bos is not None:
        wanted["bos"] = merged.bos
    wanted["chat_template"] = merged.chat_template
    found = [
        f"{name} is {told[name]!r:.60}, the merged model's {value!r:.60}"
        for name, value in wanted.items()
        if told[name] != value
    ]
    if missing := sorted(set(merged.ends) - set(told["ends"])):
        found.append(f"llama.cpp does not end an answer at {missing}, as the merged model does")
    return found


def perplexity(told: dict[str, Any]) -> float:
    """Of the rows that were asked for."""
    return math.exp(min(told["loss"] / max(told["labels"], 1), 700.0))


def held(kind: str, merged: Merged, told: dict[str, Any], most: float) -> dict[str, Any]:
    """What goes into the record of a file that is right.

    Raises:
        StageError: it is not.
    """
    if wrong := faults(kind, merged, told, most):
        raise StageError(f"export: the {kind} file is not the merged model: " + "; ".join(wrong))
    seen = greedy(merged, told["greedy"], TIE.get(kind, 0.0))
    return {
        "type": kind,
        "merged_perplexity": merged.perplexity,
        "perplexity": perplexity(told),
        "perplexity_ratio": perplexity(told) / merged.perplexity,
        "perplexity_tokens": told["labels"],
        **_apart(merged, told),
        "greedy": dataclasses.asdict(seen),
        "texts_tokenized_alike": len(merged.tokens),
        "ends": told["ends"],
        **{name: told[name] for name in ("eos", "add_bos", "engine", "parameters")},
        "bos": merged.bos,
        "chat_template": bool(merged.chat_template),
    }


def _apart(merged: Merged, told: dict[str, Any]) -> dict[str, Any]:
    """KL and top-1 as ``make quantize`` has them; none where llama.cpp has other words."""
    first, rows = merged.reference, [Apart(*row) for row in told.get("apart") or ()]
    if first is None or not rows:
        return {}
    found = gate.figures(first.told, rows)
    names = ("perplexity_ratio_interval", "kl", "kl_interval", "top1", "top1_interval")
    return {name: found[name] for name in (*names, "compared_tokens")}


def request(file: Path, merged: Merged, threads: int) -> dict[str, Any]:
    """What ``engine.py`` is asked of a file."""
    return {
        "file": str(file),
        "threads": threads,
        "texts": merged.texts,
        "rows": merged.rows,
        "prompts": merged.prompts,
        "steps": STEPS,
        "first": _first(merged),
    }


def _first(merged: Merged) -> dict[str, Any] | None:
    """What the merged model says of the rows, as ``engine.py`` reads it."""
    if merged.reference is None:
        return None
    return {
        "file": str(merged.reference.file),
        "vocabulary": merged.reference.vocabulary,
        "places": divergence.places(merged.rows),
        "best": [one.best for one in merged.reference.told],
    }


def table(records: list[dict[str, Any]]) -> str:
    """The types beside one another, a line each, the merged model first."""
    head = f"{'type':<8}{'MB':>9}{'bits':>7}{'perplexity':>13}{'ratio':>9}{'KL':>9}{'top-1':>8}"
    head += "   greedy text"
    first = records[0]
    lines = [
        head,
        f"{'merged':<8}{first['merged_mb']:>9.1f}{'':>7}{first['merged_perplexity']:>13.4f}",
    ]
    for one in records:
        seen = one["greedy"]
        said = f"{seen['equal']} of {seen['prompts']} prompts equal"
        said += f", {seen['ties']} part at a tie" if seen["ties"] else ""
        bits = one["mb"] * 8e6 / one["parameters"]
        apart = f"{_known(one, 'kl'):>9}{_known(one, 'top1'):>8}"
        lines.append(
            f"{one['type']:<8}{one['mb']:>9.1f}{bits:>7.2f}{one['perplexity']:>13.4f}"
            f"{one['perplexity_ratio']:>9.4f}{apart}   {said}"
        )
    return "\n".join(lines)


def _known(one: dict[str, Any], name: str) -> str:
    """A figure that a file made by an older version lacks."""
    return f"{one[name]:.4f}" if name in one else "-"
