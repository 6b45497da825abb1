"""Prompts written otherwise, so that a model learns the question and not its form."""

import random
import re
from collections import defaultdict
from itertools import groupby, pairwise
from typing import Any

import pyarrow as pa

from tools.curate.result import Result, examples
from tools.recipe.operators.declared import Augment

_OPTION = re.compile(r"^([A-Z])([.)] )(.*)$", re.MULTILINE)
_ANSWER = re.compile(r"(\s*)([A-Z])(\.?\s*)")

Pair = tuple[str, str]


def augment(rows: pa.Table, seed: int, options: Augment) -> Result:
    """Some rows with another prompt, and an answer that is right for it.

    Args:
        rows: as in ``tools.curate.result``.
        seed: of which rows, and how.
        options: what is done, to what share, and whether the row as it was stays, too.

    Returns:
        All rows; those that cannot be changed so (no options, no other row) as they were.
    """
    pairs = list(
        zip(rows.column("prompt").to_pylist(), rows.column("completion").to_pylist(), strict=True)
    )
    others: dict[str, list[int]] = defaultdict(list)
    for number, source in enumerate(rows.column("source").to_pylist()):
        others[source].append(number)
    made: dict[int, Pair] = {}
    for number, pair in enumerate(pairs):
        # By number: what happens to one row moves no draw of the others.
        rng = random.Random(f"{seed}/{options.kind}/{number}")
        if rng.random() < options.share:
            pool = others[rows.column("source")[number].as_py()]
            changed = _changed(pair, number, pairs, pool, rng, options)
            if changed != pair:
                made[number] = changed
    return _result(rows, pairs, made, options)


def _changed(
    pair: Pair,
    number: int,
    pairs: list[Pair],
    pool: list[int],
    rng: random.Random,
    options: Augment,
) -> Pair:
    if options.kind == "lower_case":
        return _lower(pair[0], options.pattern), pair[1]
    if options.kind == "option_order":
        return reordered(*pair, rng)
    count = rng.randint(0, options.shots)
    drawn = rng.sample(pool, min(count + 1, len(pool)))
    shown = [pairs[other] for other in drawn if other != number and pairs[other][0] != pair[0]]
    before = "".join(f"{prompt}{answer}\n\n" for prompt, answer in shown[:count])
    return before + pair[0], pair[1]


def _lower(text: str, pattern: str) -> str:
    """A text in lower case, or what a regular expression finds in it: a template stays."""
    if not pattern:
        return text.lower()
    return re.sub(pattern, lambda found: found[0].lower(), text)


def _result(rows: pa.Table, pairs: list[Pair], made: dict[int, Pair], options: Augment) -> Result:
    numbers, texts = [], []
    for number, pair in enumerate(pairs):
        if number not in made or options.beside:
            numbers.append(number)
            texts.append(pair)
        if number in made:
            numbers.append(number)
            texts.append(made[number])
    result = rows.take(pa.array(numbers, pa.int64()))
    for at, name in enumerate(("prompt", "completion")):
        column: Any = pa.array([text[at] for text in texts], pa.string())
        result = result.set_column(rows.column_names.index(name), name, column)
    added = len(numbers) - rows.num_rows
    told = examples(rows, [(number, options.kind.replace("_", " ")) for number in made])
    return Result(result, changed=len(made) - added, added=added, examples=told)


def reordered(prompt: str, answer: str, rng: random.Random) -> Pair:
    """A choice question with its options in another order, and the letter that is right then.

    Args:
        prompt: its last lines ``A. …``, ``B. …`` that follow one another are the options.
        answer: the letter alone, blanks around it.
        rng: draws the order.

    Returns:
        The same where there are no such lines or another answer.
    """
    right = _ANSWER.fullmatch(answer)
    options = _options(prompt)
    letters = [one[1] for one in options]
    if not right or right[2] not in letters or len(letters) < 2:
        return prompt, answer
    order = rng.sample(range(len(letters)), len(letters))
    made, end = [], 0
    for place, one in enumerate(options):
        made += [prompt[end : one.start(3)], options[order[place]][3]]
        end = one.end(3)
    letter = letters[order.index(letters.index(right[2]))]
    return "".join([*made, prompt[end:]]), f"{right[1]}{letter}{right[3]}"


def _options(prompt: str) -> list[re.Match[str]]:
    """The last lines that begin A, B, C, … one below the other."""
    found = list(_OPTION.finditer(prompt))
    # A passage may have an "A. " of its own: options are lines of rising letters without a gap.
    groups = [
        [one for _, one in group]
        for _, group in groupby(enumerate(found), key=lambda pair: ord(pair[1][1]) - pair[0])
    ]
    runs = [group for group in groups if group[0][1] == "A" and _together(prompt, group)]
    return runs[-1] if runs else []


def _together(prompt: str, options: list[re.Match[str]]) -> bool:
    return all(prompt[one.end() : other.start()] == "\n" for one, other in pairwise(options))
