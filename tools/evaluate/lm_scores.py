"""lm-eval's results: the extract that is kept, and the table of base against tuned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.errors import StageError
from tools.evaluate import lm_samples
from tools.files import read_json
from tools.score.difference import HOW
from tools.score.tables import aligned


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


def table(found: Mapping[str, Any], folder: Path) -> str:
    """Base against tuned as plain text.

    Args:
        found: what :func:`tools.evaluate.lm_eval.lm_eval` gives.
        folder: holds ``base`` and ``tuned``, each with lm-eval's samples.
    """
    base, tuned = found.get("base", {}), found.get("tuned", {})
    samples = (lm_samples.answered(folder / "base"), lm_samples.answered(folder / "tuned"))
    rows = [["task", "metric", "base", "tuned", "difference", "95 %", "n", ""]]
    for task in [*tuned, *(task for task in base if task not in tuned)]:
        for metric in {**base.get(task, {}), **tuned.get(task, {})}:
            before, after = (side.get(task, {}).get(metric) for side in (base, tuned))
            rows.append([task, metric, *_cells((task, metric), before, after, samples)])
    return "\n".join([aligned(rows, left=(0, 1, 7)), "", *HOW])


def _cells(
    key: lm_samples.Key,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    samples: tuple[lm_samples.Answered, lm_samples.Answered],
) -> list[str]:
    numbers = ["-" if one is None else f"{one['value']:.3f}" for one in (before, after)]
    count = str((after or before or {}).get("n") or "-")
    if not before or not after:
        return [*numbers, "-", "-", count, ""]
    change = after["value"] - before["value"]
    made = lm_samples.difference(key, samples, change)
    if made is None:
        return [*numbers, f"{change:+.3f}", "-", count, ""]
    wanted = after["higher_is_better"]  # None where a group's tasks differ in it
    verdict = "" if wanted is None else made.verdict(wanted)
    return [*numbers, f"{change:+.3f}", made.ends, count, verdict]
