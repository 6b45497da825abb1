"""What is wrong with a recipe's ``sweep`` section beyond its shape; what an axis is tried with."""

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools.recipe import axolotl_schema
from tools.recipe.faults import find, nearest
from tools.recipe.operators.faults import operator_faults
from tools.recipe.yaml_map import KeyPath

LAYERS = "layers"  # the axis whose values are names of files, laid over the recipe
SEED = "train.seed"  # no axis, but what ``sweep.seeds`` trains again with
MOST_SEEDS = 10  # more show little that these do not
FARTHEST = 0.9  # of a training: the winner must have something left to go on with
KINDS = ("values", "range", "log")
_ROWS = "decides which rows are held out, and losses on different rows cannot be compared"
_LOSS = "changes what eval_loss measures, so that trials cannot be compared"
_LATER = "comes after training: no eval_loss is changed by it"
_SHARED = "is what all trials have in common"
_NEVER = "changes no weight and no loss"
# By pattern of the key, the first that fits, why it is no axis; empty: it is one.
_VERDICTS = (
    (
        "model*",
        "has tokens of its own, so no loss compares it; write a recipe for each model",
    ),
    ("data.order", ""),
    ("data.operators", ""),
    ("data.sources.*.weight", ""),
    ("data.sources.*.difficulty", ""),
    ("data.sources.*.operators", ""),
    ("data.sources.*.rows", ""),
    ("data*", _ROWS),
    ("train.sequence_len", f"drops other rows, held-out ones, too, and {_LOSS}"),
    ("train.excess_length_strategy", _LOSS),
    ("train.*sample_packing*", _LOSS),
    ("train.label_smoothing_factor", _LOSS),
    ("train.eval_*", _LOSS),
    ("train.val_set_size", _ROWS),
    (SEED, "would choose luck, not a better recipe; set sweep.seeds"),
    ("train.num_epochs", "is how long a training is, which the rungs decide"),
    ("train.max_steps", "is how long a training is, which the rungs decide"),
    ("train.save_*", _NEVER),
    ("train.logging_*", _NEVER),
    ("train.load_best_model_at_end", _NEVER),
    ("train.metric_for_best_model", _NEVER),
    ("train.greater_is_better", _NEVER),
    ("train.?*", ""),
    ("soup*", _LATER),
    ("merge*", _LATER),
    ("quantize*", _LATER),
    ("serve*", _LATER),
    ("eval*", _LATER),
    ("publish*", _LATER),
    ("budget*", _SHARED),
    ("hardware*", _SHARED),
    ("sweep*", "would have the sweep search itself"),
)
_DEFAULTS = {"trials": 9, "keep": 3, "rungs": 3}
_MANY = 30  # rungs, of which no sweep has trials enough
_REMEDY = "take it out of sweep.axes"
Found = dict[KeyPath, tuple[str, bool]]


def tried(axis: Any) -> list[Any]:
    """The values of an axis, or the ends of its range."""
    return next((list(axis[kind]) for kind in KINDS if axis.get(kind)), [])


def sets(values: dict[str, Any]) -> list[str]:
    """Values by full key as the command line sets them, layers left out."""
    import json

    return [
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if key != LAYERS
    ]


def layers_of(values: dict[str, Any]) -> list[str]:
    """The names of the files that values lay over the recipe."""
    named = values.get(LAYERS) or []
    return [named] if isinstance(named, str) else list(named)


def sweep_faults(tree: dict[str, Any], schema: dict[str, Any], roots: list[Path]) -> Found:
    """Hold the section against what can be tried and compared.

    Args:
        tree: the recipe as composed.
        schema: of a whole recipe.
        roots: folders that layers lie in.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that no key is missing.
    """
    section = tree.get("sweep")
    if not isinstance(section, dict) or section.get("work"):  # where it was made nothing is tried
        return {}
    axes = section.get("axes")
    axes = axes if isinstance(axes, dict) else {}
    found: dict[KeyPath, str] = {}
    if section.get("axes") == {}:
        found[("sweep", "axes")] = "empty; name a key to try, as train.learning_rate"
    if not _evaluates(tree):
        found[("sweep",)] = (
            "trials are compared by eval_loss, and nothing is evaluated; set "
            "train.eval_strategy=steps and data.validation_rows"
        )
    good: dict[str, Any] = {}
    for key, axis in axes.items():
        path = ("sweep", "axes", key)
        if why := _no_axis(key, tree):
            found[path] = why
        elif isinstance(axis, dict):
            wrong = dict(_form(path, axis))
            found |= wrong or dict(_layers(path, key, axis, roots))
            if (
                not wrong
                and None not in tried(axis)
                and all(isinstance(axis.get(kind, []), list) for kind in KINDS)
            ):
                good[key] = axis
    found |= dict(_numbers(section, good, len(axes)))
    plain: Found = {path: (text, False) for path, text in found.items()}
    good.pop(LAYERS, None)
    return plain | _values(good, tree, schema)


def _no_axis(key: str, tree: dict[str, Any]) -> str:
    """Why a key is no axis; empty when it is one."""
    if key == LAYERS:
        return ""
    top = key.partition(".")[0]
    known = {*tree, "publish"}
    if top not in known:
        return f"no section of a recipe{nearest(top, [*known, LAYERS])}"
    verdict = _verdict(key)
    if verdict is None:
        return "a section, not a key; name a key below it"
    if owned := key.startswith("train.") and axolotl_schema.OWNED.get(key.split(".")[1]):
        return f"not for a recipe: {owned}"
    if verdict:
        return f"{verdict}; {_REMEDY}"
    if not key.startswith("data.sources."):
        return ""
    sources = tree["data"].get("sources") if isinstance(tree["data"], dict) else None
    named = key.split(".")[2]
    if isinstance(sources, dict) and named not in sources:
        return f"the recipe has no source {named}{nearest(named, sources)}"
    return ""


def _verdict(key: str) -> str | None:
    return next((why for pattern, why in _VERDICTS if fnmatchcase(key, pattern)), None)


def incomparable(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two recipes so that no loss compares them, as layers may have it.

    Of the data nothing is told: there the held-out rows themselves are compared.

    Args:
        one: as plain values.
        other: likewise.
    """
    found = []
    for section in ("model", "train"):
        for name in {**one[section], **other[section]}:
            key = f"{section}.{name}"
            why = _verdict(key)
            differ = one[section].get(name) != other[section].get(name)
            if differ and why and why != _NEVER:
                found.append(f"{key} {why}")
    return found


def _evaluates(tree: dict[str, Any]) -> bool:
    train, data = tree.get("train"), tree.get("data")
    never = isinstance(train, dict) and train.get("eval_strategy", "steps") in ("no", False)
    return not never and not (isinstance(data, dict) and data.get("validation_rows") == 0)


def _form(path: KeyPath, axis: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Whether exactly one kind is given, and well."""
    given = [kind for kind in KINDS if axis.get(kind)]
    if len(given) != 1:
        listed = f"both {' and '.join(given)}; keep one"
        yield path, listed if given else "nothing to try; give values, range or log"
        return
    kind, listed = given[0], axis[given[0]]
    if not isinstance(listed, list):
        return  # its shape is wrong, which the schema says
    if kind == "values":
        twice = len({repr(value) for value in listed}) < len(listed)
        if len(listed) < 2 or twice:
            why = "a value twice; keep one" if twice else "one value is no choice; add another"
            yield (*path, kind), why
    elif wrong := _ends(kind, listed):
        yield (*path, kind), wrong


def _ends(kind: str, ends: list[Any]) -> str:
    """What is wrong with the ends of a range; empty when nothing is."""
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if None in ends:  # a number out of bounds, which was told already
        return ""
    if len(ends) != 2 or len(numbers) != 2:
        return f"must be two numbers, the lowest and the highest, not {ends}"
    if not all(math.isfinite(end) for end in numbers):
        return f"must be two finite numbers, not {ends}"
    if ends[0] >= ends[1]:
        return f"must be the lowest first, not {ends}"
    if kind == "log" and ends[0] <= 0:
        return f"has no logarithm at {ends[0]}; begin above 0, or write range"
    return ""


def _layers(
    path: KeyPath, key: str, axis: dict[str, Any], roots: list[Path]
) -> Iterator[tuple[KeyPath, str]]:
    """Whether layers are there."""
    if key != LAYERS:
        return
    if not axis.get("values"):
        yield path, "layers have no range; give values, names of files such as train/my-layer"
        return
    there = [
        file.relative_to(root).with_suffix("").as_posix()
        for root in roots
        for file in root.glob("**/*.yaml")
    ]
    for index, value in enumerate(axis["values"]):
        named = value if isinstance(value, list) else [value]
        for name in named:
            if not isinstance(name, str):
                yield (*path, "values", index), f"must be names of files, not {value!r}"
            elif name and name not in there:
                yield (*path, "values", index), f"no file {name}.yaml{nearest(name, there)}"


def _numbers(
    section: dict[str, Any], axes: dict[str, Any], count: int
) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with the section's numbers, one by one and together.

    Args:
        section: the sweep's.
        axes: those of which nothing is wrong.
        count: of all axes.
    """
    for name, low, high in (("share", 0.0, 1.0), ("first", -1e-9, FARTHEST)):
        value = section.get(name, 0.3 if name == "share" else 0)
        if isinstance(value, int | float) and not low < value < high:
            said = "more than 0 and less than 1" if name == "share" else f"less than {FARTHEST:g}"
            yield ("sweep", name), f"must be {said}, not {value:g}"
    for name, least in (("trials", 2), ("keep", 2), ("rungs", 1), ("seeds", 1)):
        if isinstance(value := section.get(name, 9), int) and value < least:
            yield ("sweep", name), f"must be {least} or more, not {value}"
    seeds = section.get("seeds", 1)
    if isinstance(seeds, int) and seeds > MOST_SEEDS:
        yield ("sweep", "seeds"), f"must be {MOST_SEEDS} or less, not {seeds}"
    url = section.get("database")
    if isinstance(url, str) and url and "://" not in url:
        yield ("sweep", "database"), f"must be a URL, as sqlite:///{url} or postgresql://HOST/NAME"
    yield from _rungs(section)
    yield from _combinations(section, axes, count)


def _rungs(section: dict[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """Whether trials are left for every rung, and steps behind the last one."""
    trials, keep, rungs = (section.get(name, usual) for name, usual in _DEFAULTS.items())
    if not all(isinstance(one, int) and one > 0 for one in (trials, keep, rungs)) or keep < 2:
        return
    if rungs > _MANY or keep ** (rungs - 1) > trials:
        most = int(math.log(trials, keep) + 1e-9) + 1
        said = f"one in {keep} of {trials} trials goes on, so none is left for rung {rungs}"
        yield ("sweep", "rungs"), f"{said}; set sweep.rungs={most}, or raise sweep.trials"
        return
    first, times = section.get("first", 0), keep ** (rungs - 1)
    if isinstance(first, int | float) and 0 < first < FARTHEST < first * times:
        said = f"the last rung would be at {first * times:.2g} of a training, at most {FARTHEST:g}"
        yield ("sweep", "first"), f"{said}; set sweep.first={FARTHEST / times:.2g}"


def _combinations(
    section: dict[str, Any], axes: dict[str, Any], count: int
) -> Iterator[tuple[KeyPath, str]]:
    """As many settings as trials; a grid of values alone."""
    ranges = [key for key, axis in axes.items() if not axis.get("values")]
    if section.get("sampler") == "grid" and ranges:
        said = f"a grid goes through values, not through the range of {' and '.join(ranges)}"
        yield ("sweep", "sampler"), f"{said}; list values, or set sweep.sampler=tpe"
    trials = section.get("trials", _DEFAULTS["trials"])
    there = math.prod(len(axis.get("values") or ()) for axis in axes.values())
    if count and len(axes) == count and isinstance(trials, int) and 0 < there < trials:
        said = f"{trials} trials of {there} combinations"
        yield ("sweep", "trials"), f"{said}; set sweep.trials={there}, or add values"


def _values(axes: dict[str, Any], tree: dict[str, Any], schema: dict[str, Any]) -> Found:
    """Each value as if the recipe had it: what the recipe would be told of the key."""
    found: Found = {}
    bare = {key: value for key, value in tree.items() if key != "sweep"}
    known = find(bare, schema)
    for index in range(max((len(tried(axis)) for axis in axes.values()), default=0)):
        here = {key: tried(axis)[index] for key, axis in axes.items() if index < len(tried(axis))}
        changed = bare
        for key, value in here.items():
            changed = _with(changed, key.split("."), value)
        wrong = find(changed, schema) | operator_faults(changed.get("data"))
        for path, (text, missing) in wrong.items():
            if path not in known and not missing:
                found |= _attributed(path, text, index, here, axes)
    return found


def _attributed(
    path: KeyPath, text: str, index: int, here: dict[str, Any], axes: dict[str, Any]
) -> Found:
    """A fault of the changed recipe, at the axis that it came by."""
    for key in here:
        parts = tuple(key.split("."))
        if path[: len(parts)] == parts:
            at: KeyPath = ("sweep", "axes", key)
            if "unknown key" not in text:
                kind = next(kind for kind in KINDS if axes[key].get(kind))
                at = (*at, kind, index)
            return {at: (text, False)}
    return {}


def _with(tree: Any, path: list[str], value: Any) -> Any:
    """A copy with one value set."""
    if not path:
        return value
    section = tree if isinstance(tree, dict) else {}
    return {**section, path[0]: _with(section.get(path[0]), path[1:], value)}
