"""Reading the recipe's sources: our makers, local JSONL files, data sets of the hub."""

import fnmatch
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tools.console import say
from tools.data import skills
from tools.data.render import Pair, pair
from tools.errors import UserError
from tools.recipe.faults import nearest
from tools.recipe.operators import Step
from tools.recipe.schema import Source


def faults(sources: dict[str, Source]) -> list[str]:
    """What is wrong with the sources, without reading them."""
    found = [] if sources else ["data.sources: none; add one, or compose data/reasoning"]
    for name, source in sources.items():
        if source.kind == "generator" and (why := skills.fault(source.path)):
            found.append(f"data.sources.{name}.path: {why}")
        if source.kind == "generator" and source.rows is None:
            found.append(f"data.sources.{name}.rows: a maker never ends; say how many rows to make")
        if source.kind == "generator" and source.difficulty:
            found.append(
                f"data.sources.{name}.difficulty: a maker's questions have no fields; leave it "
                "out, and data.order: easy-first goes by length"
            )
    return found


def read(
    name: str,
    source: Source,
    held: int,
    rng: random.Random,
    max_words: int,
    tally: Counter[str] | None = None,
) -> list[Pair]:
    """All pairs wanted from one source, no prompt twice, in an order that ``rng`` decides.

    Args:
        name: the source's name in the recipe.
        source: its description.
        held: pairs wanted beyond ``source.rows``, for validation and test.
        rng: the source's own random generator.
        max_words: pairs with more words, prompt and completion together, are left out.
        tally: the number of rows read is added to it under ``name``: before any was left out.

    Raises:
        UserError: the file, a field or enough different rows are missing.
    """
    where = f"data.sources.{name}"
    tally = Counter() if tally is None else tally
    if source.kind == "generator":
        assert source.rows is not None
        wanted = source.rows + held
        made = _counted(_made(name, source, rng), tally, name)
        return _enough(where, _kept(made, wanted, max_words), wanted)
    rows = _jsonl(where, Path(source.path)) if source.kind == "jsonl" else _hub(where, source)
    rows = _operated(name, where, source, rows)
    found = _counted(_templated(name, where, source, rows), tally, name)
    pairs = [p for p in _unique(found) if _short(p, max_words)]
    rng.shuffle(pairs)
    return pairs if source.rows is None else _enough(where, pairs, source.rows + held)


def _counted(pairs: Iterable[Pair], tally: Counter[str], name: str) -> Iterator[Pair]:
    for item in pairs:
        tally[name] += 1
        yield item


def _made(name: str, source: Source, rng: random.Random) -> Iterator[Pair]:
    """Questions from a maker, without end."""
    make = skills.maker(source.path)
    while True:
        yield pair(name, make(rng))


def _kept(made: Iterable[Pair], wanted: int, max_words: int) -> Iterator[Pair]:
    """What a maker must give; one that has run out would hang us: 50 tries a row are enough."""
    tried = itertools.islice(made, 50 * wanted)
    return itertools.islice(_unique(p for p in tried if _short(p, max_words)), wanted)


def _short(item: Pair, words: int) -> bool:
    return len(item.prompt.split()) + len(item.completion.split()) <= words


def _unique(pairs: Iterable[Pair]) -> Iterator[Pair]:
    seen: set[str] = set()
    for item in pairs:
        if item.prompt not in seen:
            seen.add(item.prompt)
            yield item


def _enough(where: str, pairs: Iterable[Pair], wanted: int) -> list[Pair]:
    found = list(pairs)
    if len(found) < wanted:
        raise UserError(
            f"{where}.rows: {wanted} different rows wanted (held-out ones included), there are "
            f"{len(found)} of at most data.max_words; lower rows, data.validation_rows or "
            "data.test_rows"
        )
    return found[:wanted]


def _jsonl(where: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # As bytes: json.loads then finds what is not UTF-8, and its line is known.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"{path}:{number}: not JSON ({error}); {where} wants one object a line"
                ) from None
            if not isinstance(fields, dict):
                raise UserError(f"{path}:{number}: not an object; {where} wants one object a line")
            yield f"{path}:{number}", fields


def _hub(where: str, source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    # Takes seconds to import; makers and local files need none of it.
    from datasets import load_dataset

    try:
        rows = load_dataset(
            source.path, source.subset or None, split=source.split, revision=source.revision or None
        )
    except Exception as error:
        # The library raises a dozen unrelated types here; the remedy is the same for each.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{where}.path: cannot load {source.path} ({reason}); check path, subset, split, "
            "revision and the network, and HF_TOKEN if the set is gated"
        ) from None
    for number, fields in enumerate(rows):
        yield f"{source.path} row {number}", fields


def _operated(
    name: str, where: str, source: Source, rows: Iterable[tuple[str, dict[str, Any]]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that ``allow`` and ``deny`` leave in; how many each left out is told at the end."""
    left = Counter[str]()
    for place, row in rows:
        why = next((why for step in source.operators if (why := _out(place, where, step, row))), "")
        if why:
            left[why] += 1
        else:
            yield place, row
    if left:
        counts = ", ".join(f"{count:,} by {why}" for why, count in left.items())
        say(f"data: {name}: rows left out: {counts}")


def _out(place: str, where: str, step: Step, row: dict[str, Any]) -> str:
    """The operator that leaves a row out, empty when it stays."""
    for name, options in (("allow", step.get("allow")), ("deny", step.get("deny"))):
        if options is None:
            continue
        if options.column not in row:
            raise UserError(
                f"{place}: no field {options.column!r} for {name} of {where}.operators"
                f"{nearest(options.column, row)}; the row has {', '.join(row)}"
            )
        value = str(row[options.column])
        found = any(fnmatch.fnmatchcase(value, pattern) for pattern in options.values)
        if found == (name == "deny"):
            return f"{name} of {options.column}"
    return ""


def _templated(
    name: str, where: str, source: Source, rows: Iterable[tuple[str, dict[str, Any]]]
) -> Iterator[Pair]:
    for place, row in rows:
        fields = {key: value for key, value in row.items() if value is not None}  # not "None"
        try:
            prompt, completion = (
                template.format(**fields) for template in (source.prompt, source.completion)
            )
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"{place}: the template of {where} does not fit: {error}") from None
        except KeyError as error:
            field = str(error).strip("'\"")
            raise UserError(
                f"{place}: no field {field!r} for the template of {where}{nearest(field, fields)}; "
                f"the row has {', '.join(fields)}"
            ) from None
        hardness = _hardness(place, where, source.difficulty, fields) if source.difficulty else None
        yield Pair(name, prompt, completion, hardness=hardness)


def _hardness(place: str, where: str, field: str, fields: dict[str, Any]) -> float:
    """The number in a row's field of difficulty, which may be written as a text."""
    said = f"{place}: data.order: easy-first goes by {field!r} ({where}.difficulty)"
    if field not in fields:
        raise UserError(
            f"{said}, and the row has no such field{nearest(field, fields)}; the row has "
            f"{', '.join(fields)}"
        )
    try:
        number = math.nan if isinstance(fields[field], bool) else float(fields[field])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{said}, and that is {fields[field]!r}, no number; mend the row")
    return number
