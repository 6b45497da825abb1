"""lm-eval's results: the extract that is kept, and the table of base against tuned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.errors import StageError
from tools.files import read_json


def read_scores(folder: Path) -> dict[str, Any]:
    """The scores in lm-eval's newest results file below a folder.

    Returns:
        By task: by metric (``name`` or ``name:filter``): ``value``, ``stderr`` (or None),
        ``higher_is_better``, ``n``.

    Raises:
        StageError: there is no such file: lm-eval only warns when it cannot write.
    """
    # By name, which ends in the time it was written.
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.name)
    content = read_json(files[-1]) if files else None
    if not content:
        raise StageError(f"lm-eval: left no results in {folder}")
    return {task: _metrics(task, content) for task in content["results"]}


def _metrics(task: str, content: dict[str, Any]) -> dict[str, Any]:
    values = content["results"][task]
    better = content.get("higher_is_better", {}).get(task, {})
    count = content.get("n-samples", {}).get(task, {}).get("effective")
    found = {}
    for key, value in values.items():
        metric, _, kind = key.partition(",")
        # What has no filter behind a comma, such as alias, is no metric.
        if kind and not metric.endswith("_stderr") and isinstance(value, int | float):
            error = values.get(f"{metric}_stderr,{kind}")
            found[metric if kind == "none" else f"{metric}:{kind}"] = {
                "value": value,
                "stderr": error if isinstance(error, int | float) else None,
                "higher_is_better": better.get(metric, True),
                "n": count,
            }
    return found


def table(found: Mapping[str, Any]) -> str:
    """What :func:`tools.evaluate.lm_eval.lm_eval` gives, base against tuned, as plain text."""
    base, tuned = found.get("base", {}), found.get("tuned", {})
    rows = [["task", "metric", "base", "tuned", "difference", "n", ""]]
    for task in [*tuned, *(task for task in base if task not in tuned)]:
        for metric in {**base.get(task, {}), **tuned.get(task, {})}:
            pair = [side.get(task, {}).get(metric) for side in (base, tuned)]
            rows.append([task, metric, *_cells(*pair)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_aligned(row, widths) for row in rows]
    note = "better, worse: the difference exceeds two standard errors; without a word it is noise."
    return "\n".join([*lines, "", note])


def _cells(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    numbers = ["-" if one is None else f"{one['value']:.3f}" for one in (before, after)]
    count = str((after or before or {}).get("n") or "-")
    if not before or not after:
        return [*numbers, "-", count, ""]
    change = after["value"] - before["value"]
    errors = [one["stderr"] for one in (before, after)]
    noise = None if None in errors else 2 * sum(error**2 for error in errors) ** 0.5
    clear = noise is not None and abs(change) > noise
    wanted = after["higher_is_better"]  # None where a group's tasks differ in it
    verdict = ""
    if clear and wanted is not None:
        verdict = "better" if (change > 0) == wanted else "worse"
    return [*numbers, f"{change:+.3f}", count, verdict]


def _aligned(row: list[str], widths: list[int]) -> str:
    left = {0, 1, len(row) - 1}
    cells = [
        cell.ljust(width) if at in left else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
