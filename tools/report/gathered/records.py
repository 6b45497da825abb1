"""The parts that other stages wrote down: output rules, contamination, the manifest."""

from typing import Any

from tools.files import read_json
from tools.recipe.redact import secret
from tools.report.gathered.judged import helm
from tools.report.gathered.source import UNREADABLE, Missing, Part, Source
from tools.run.folder import STAGES, Run
from tools.run.provenance import Manifest, Record


def rules(source: Source) -> Part:
    """How often each output rule of the worker changed an answer while HELM asked.

    Raises:
        Missing: the worker's counts were not kept.
    """
    stored = {who: read_json(source.answers(who) / "metrics.json") for who in ("base", "tuned")}
    found = {who: metrics["rules"] for who, metrics in stored.items() if metrics}
    if not found:
        raise Missing("the worker's counts were not kept", "eval")
    names = dict.fromkeys([*source.run.recipe.serve.rules, *(n for f in found.values() for n in f)])
    return {
        "models": list(found),
        "rules": [
            {"rule": name, **{who: _hits(hits.get(name, 0)) for who, hits in found.items()}}
            for name in names
        ],
    }


def _hits(count: Any) -> int:
    """A number, also of counts by what the rule did."""
    return sum(count.values()) if isinstance(count, dict) else int(count)


def contamination(source: Source) -> Part:
    """For each scenario that was scored, whether its questions are in the training rows.

    Raises:
        Missing: nothing was checked.
    """
    stored = read_json(source.run.path / "eval" / "contamination.json")
    if not stored:
        raise Missing("not checked: no question was held against the training rows", "eval")
    checked = stored["scenarios"]
    scored = {helm.base(name) for each in _scored(source) for name in each}
    return {
        "method": stored["method"],
        "rows": stored["rows"],
        "scenarios": [{"scenario": name, **_checked(each)} for name, each in checked.items()],
        "unchecked": sorted(scored - {helm.base(name) for name in checked}),
    }


def _checked(entry: dict[str, Any]) -> Part:
    run_specs = entry.get("run_specs", {})
    return {
        **_counted(entry),
        "run_specs": {name: _counted(each) for name, each in run_specs.items()},
        "examples": entry.get("examples", []),
    }


def _counted(entry: dict[str, Any]) -> Part:
    counts = {key: entry[key] for key in ("instances", "contaminated", "share")}
    return {**counts, "partial": entry.get("partial", 0)}


def _scored(source: Source) -> list[dict[str, Any]]:
    try:
        return list(source.evaluated().values())
    except Missing:
        return []


def manifest(source: Source) -> Part:
    """What each stage was made from and made, and the recipe, without its secrets.

    Raises:
        Missing: no stage was ever finished.
    """
    stored = Manifest(source.run.path)
    found = {name: stored.newest(name) for name in STAGES}
    records = {name: record for name, record in found.items() if record}
    if not records:
        raise Missing("no stage was ever finished", "day")
    newest = max(records.values(), key=lambda record: record["finished"])
    provenance = newest.get("provenance", {})
    return {
        "stages": [_stage(source.run, name, record) for name, record in records.items()],
        "versions": {k: v for r in records.values() for k, v in r["inputs"]["versions"].items()},
        "oneday": newest["inputs"].get("oneday"),
        "code": provenance.get("code", {}),
        "machine": provenance.get("machine", {}),
        "packages": len(stored.content(newest, "packages") or {}),
        "recipe": hidden(stored.content(newest, "recipe") or {}),
    }


def _stage(run: Run, name: str, record: Record) -> Part:
    files = {file: entry["sha256"] for file, entry in record["outputs"].items()}
    return {
        "stage": name,
        "finished": record["finished"],
        "seconds": record["seconds"],
        "fingerprint": record["fingerprint"],
        "files": files,
        "bytes": sum(entry["size"] for entry in record["outputs"].values()),
        "fresh": _fresh(run, name),
    }


def _fresh(run: Run, name: str) -> bool | None:
    """Whether the output is what the recipe asks for now; None when that cannot be told."""
    try:
        return run.done(name)
    except UNREADABLE:  # a source file is gone, or the record is of another version
        return None


def hidden(value: Any, key: str = "") -> Any:
    """The same value with every secret's kind in its place: a report is passed on."""
    if isinstance(value, dict):
        return {name: hidden(each, f"{key}.{name}") for name, each in value.items()}
    if isinstance(value, list):
        return [hidden(each, key) for each in value]
    if isinstance(value, str) and (kind := secret(key, value)):
        return f"<{kind}>"
    return value
