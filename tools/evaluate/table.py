"""What an evaluation came to: base beside tuned, and whether the difference is more than noise."""

import re
import statistics
from collections.abc import Mapping

from tools.errors import UserError
from tools.evaluate.helm.log import plain
from tools.evaluate.helm.programs import OUTPUT, SUITE, run_folders
from tools.evaluate.stage import SCORES, WHO, Score, failed
from tools.run.folder import Run, read_json
from tools.score import per_question
from tools.score.difference import HOW, Pairs, paired
from tools.score.tables import aligned

MANY = 30  # run specs that are shown one by one; of more, the scenarios
_SAME = 1e-6  # an interval of a difference that is further from the one shown is not of it


def table(run: Run) -> str:
    """Base against tuned as plain text: a line a run spec, a scenario where there are many.

    Raises:
        UserError: nothing was evaluated yet.
    """
    base, tuned = (read_json(run.output(f"eval_{who}") / SCORES) or {} for who in WHO)
    pairs = _pairs(run, base, tuned)
    names = sorted({*base, *tuned})
    if not names:
        raise UserError(f"{run.path}: nothing evaluated yet; evaluate with: make eval")
    either = {**base, **tuned}
    rows = [["run spec", "metric", "base", "tuned", "difference", "95 %", "n", ""]]
    skills = [name for name in names if name.startswith("oneday:")]
    others = [name for name in names if name not in skills]
    for title, group in (("mean, trained skills", skills), ("mean, HELM's scenarios", others)):
        for label, specs in _lines(group).items():
            rows.append(_row(label, either[specs[0]]["metric"], specs, (base, tuned), pairs))
        rows += [_row(title, "", group, (base, tuned), pairs)] if group else []
    return "\n".join([aligned(rows, left=(0, 1, 7)), "", *_notes(run)])


def _lines(names: list[str]) -> dict[str, list[str]]:
    """The run specs of each line of the table, by its label."""
    if len(names) <= MANY:
        return {name: [name] for name in names}
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(re.split("[:,]", name, maxsplit=1)[0], []).append(name)
    return {f"{name}, mean of {len(specs)}": specs for name, specs in found.items()}


def _row(
    label: str,
    metric: str,
    names: list[str],
    both: tuple[dict[str, Score], dict[str, Score]],
    pairs: Pairs,
) -> list[str]:
    before, after = (_mean(scores, names) for scores in both)
    count = str(sum({**both[0], **both[1]}[name]["instances"] for name in names))
    cells = [label, metric, _number(before), _number(after)]
    if before is None or after is None:
        return [*cells, "-", "-", count, ""]
    return [*cells, f"{after - before:+.3f}", *_judged(after - before, names, pairs, count)]


def _judged(change: float, names: list[str], pairs: Pairs, count: str) -> list[str]:
    """The interval of a difference, the number of its questions, and the verdict."""
    found = paired({name: pairs[name] for name in names if name in pairs})
    if found is None or abs(found.mean - change) > _SAME:
        return ["-", count, ""]
    return [found.ends, count, found.verdict()]


def _pairs(run: Run, base: Mapping[str, Score], tuned: Mapping[str, Score]) -> Pairs:
    """Both values of each question, by run spec, as far as HELM's files are there."""
    runs = [run.output(f"eval_{who}") / OUTPUT / "runs" / SUITE for who in WHO]
    places = [{plain(one.name): one for one in run_folders(folder)} for folder in runs]
    found = {}
    for name, score in tuned.items():
        other = base.get(name, {})
        same = all(score.get(key) == other.get(key) for key in ("metric", "split"))
        if same and all(name in place for place in places):
            both, split = [place[name] for place in places], str(score.get("split"))
            found[name] = per_question.pairs(both, score["metric"], [split, split])
    return found


def _mean(scores: dict[str, Score], names: list[str]) -> float | None:
    values = [scores[name]["value"] for name in names if name in scores]
    # A mean over fewer run specs does not compare with the other model's.
    return statistics.fmean(values) if len(values) == len(names) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _notes(run: Run) -> list[str]:
    notes = [*HOW]
    for who in WHO:
        record = run.record(f"eval_{who}")
        if record and record["fingerprint"] != run.fingerprint(f"eval_{who}"):
            notes.append(f"{who}: from before the recipe's last change; renew it with: make eval")
    return notes + _failed(run)


def _failed(run: Run) -> list[str]:
    """What has no score and why, each failure once, and the remedy."""
    failures: dict[tuple[str, str], list[str]] = {}
    for who in WHO:
        for name, cause in failed(run, who).items():
            failures.setdefault((name, cause), []).append(who)
    lines = [
        f"  {', '.join(who)}: {name}: {cause}" for (name, cause), who in sorted(failures.items())
    ]
    if not lines:
        return []
    logs = ", ".join(str(run.logs / f"eval_{who}.log") for who in WHO if failed(run, who))
    remedy = "this asks for them again, and only them: make eval"
    head = f"failed, all else is kept; {remedy}; see {logs}"
    return ["", head, *lines]
