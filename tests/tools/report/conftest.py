"""A small run folder with all that a report reads, made with the classes that make real ones."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run
from tools.data import tokens
from tools.day.clock import Clock
from tools.day.watch import TOKENS
from tools.files import write_json
from tools.recipe.schema import Architecture, Axis, Sweep
from tools.run.folder import Run
from tools.score import bootstrap

ARCH = Architecture(64, 2, 128, 500, 4, 2, True)
HOSTILE = (
    "</script><script>alert(1)</script> & <img src=x onerror=alert(2)> \" ' --> ]]> $title ${style}"
)


def write_spec(
    folder: Path,
    name: str,
    values: Sequence[float],
    metric: str = "exact_match",
    prompt: str = "Question: {i}\nAnswer:",
) -> None:
    """A run spec's folder as HELM leaves it: what was asked, answered and scored."""
    path = folder / "benchmark_output/runs/oneday" / f"{name},model=neurips_local"
    path.mkdir(parents=True)
    stats = [
        {
            "instance_id": f"id{i}",
            "train_trial_index": 0,
            "stats": [{"name": {"name": metric, "split": "test"}, "mean": value, "count": 1}],
        }
        for i, value in enumerate(values)
    ]
    write_json(path / "per_instance_stats.json", stats)
    mean = sum(values) / len(values)
    split = {"name": metric, "split": "test"}
    write_json(path / "stats.json", [{"name": split, "mean": mean, "count": 1, "sum": mean}])
    write_json(path / "run_spec.json", {"name": f"{name},model=neurips/local"})
    states = [state(i, value, prompt.format(i=i)) for i, value in enumerate(values)]
    write_json(path / "scenario_state.json", {"request_states": states})


def state(i: int, value: float, prompt: str) -> dict[str, Any]:
    """One request and its answer."""
    text = f" right {i}" if value == 1 else f" wrong {i} {HOSTILE}"
    references = [
        {"output": {"text": f"right {i}"}, "tags": ["correct"]},
        {"output": {"text": "other"}, "tags": []},
    ]
    return {
        "instance": {
            "id": f"id{i}",
            "split": "test",
            "input": {"text": f"What is {i}? {HOSTILE}"},
            "references": references,
        },
        "request": {"prompt": prompt + HOSTILE},
        "result": {"success": True, "completions": [{"text": text, "logprob": -1.0}]},
    }


def log_history(steps: int = 60) -> list[dict[str, Any]]:
    """What a trainer logs."""
    history: list[dict[str, Any]] = []
    for step in range(5, steps + 1, 5):
        rate = 1e-3 * (1 - step / steps)
        history.append({"step": step, "loss": 3 / step**0.5, "learning_rate": rate})
        history[-1][TOKENS] = 200.0 + step % 15
        if step % 20 == 0:
            history.append({"step": step, "eval_loss": 2.5 / step**0.5})
    return history


TRAINED: dict[str, Any] = {
    "steps": 60,
    "planned_steps": 60,
    "stopped": None,
    "first_loss": 1.34,
    "last_loss": 0.39,
    "eval_loss": 0.32,
    "tokens_per_second": 205.0,
    "peak_gpu_gib": None,
    "peak_process_gib": 1.5,
    "trained_parameters": 4_900_000,
    "learnt_share": 0.11,
    "log": log_history(),
}


def add_interval(run: Run, stage: str, seconds: float, work: str = "", ended: bool = True) -> None:
    """A stretch of work in the run's ledger."""
    ledger = Clock(run.path / "clock.jsonl")
    line = {"id": f"{stage}{len(ledger.intervals())}", "stage": stage, "pid": 1}
    line |= {"event": "stop" if ended else "beat", "work": work or run.fingerprint(stage)}
    line |= {"seconds": seconds, "wall": "2023-10-25T08:00:00+00:00"}
    with ledger.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def make_rows(run: Run) -> None:
    """The data stage, and its rows as tokens."""
    with run.produce("data") as work:
        rows = [{"skill": "counting", "segments": []}] * 30
        (work.folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        work.note(train_rows=30, train_questions=60, validation_rows=3, validation_questions=6)
        work.note(test_questions=8, shots_questions=8, by_source={"counting": 60})
    path = tokens.paths(run)["train"]
    path.parent.mkdir(parents=True)
    lengths = [20 + 7 * i % 90 for i in range(30)]
    labels = ([tokens.IGNORED] * (length - 5) + [1] * 5 for length in lengths)
    lines = [json.dumps({"input_ids": [1] * len(one), "labels": one}) for one in labels]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_model(run: Run) -> None:
    """Train, merge and quantize."""
    with run.produce("train") as work:
        (work.folder / "adapter_model.safetensors").write_bytes(b"weights")
        write_json(work.folder / "schedule.json", {})
        work.note(**TRAINED)
    with run.produce("merge") as work:
        (work.folder / "model.safetensors").write_bytes(b"more weights")
        work.note(max_logit_diff=1e-4, max_logit_change=3.0)
    with run.produce("quantize") as work:
        (work.folder / "model.safetensors").write_bytes(b"weight")
        work.note(merged_perplexity=1.5, quantized_perplexity=1.6, perplexity_ratio=1.0667)
        work.note(kl=0.05, kl_interval=[0.04, 0.06], top1=0.95, top1_interval=[0.9, 1.0])
        work.note(compared_tokens=321, limits={"max_kl": 0.2, "min_top1": 0.8})
        tier = {"tier": "quick", "merged": 0.6, "quantized": 0.5, "drop": 0.1, "questions": 90}
        work.note(tier={**tier, "drop_interval": [0.02, 0.18]}, beyond=["the mean score fell"])
    for stage, seconds in (("train", 300.0), ("merge", 20.0), ("quantize", 10.0)):
        add_interval(run, stage, seconds)


ANSWERED = {
    "oneday:skill=counting": ([0, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1, 0, 1]),
    "mmlu:subject=anatomy": ([0, 1, 0, 1], [0, 1, 1, 1]),
    "mmlu:subject=law": ([0, 0], [0, 0]),
}


def evaluate(run: Run, who: str, answered: dict[str, tuple[list[int], list[int]]]) -> None:
    """An evaluation of ``base`` or ``tuned``."""
    with run.produce(f"eval_{who}") as work:
        scores = {}
        for name, both in answered.items():
            values = both[who == "tuned"]
            write_spec(work.folder, name, values)
            mean = sum(values) / len(values)
            scores[name] = {"metric": "exact_match", "value": mean, "split": "test"}
            scores[name] |= {"instances": len(values), "seconds_per_answer": 0.1, "also": {}}
        write_json(work.folder / "scores.json", scores)
        write_json(work.folder / "metrics.json", {"rules": {"letter": 6, "<b>few_shot</b>": 8}})
        work.note(tier="tier", scores={name: s["value"] for name, s in scores.items()})


SWEEP = Sweep(
    {
        "train.learning_rate": Axis(log=[1e-4, 1e-2]),
        "data.order": Axis(values=["shuffled", "listed"]),
        "layers": Axis(values=["", ["a", "b"]]),
    },
    trials=4,
)


def sweep(run: Run, own: int | None = 0, winner: int = 2, timed: bool = True) -> None:
    """A sweep of four trials, the last one of which broke."""
    told = ((2.0, 1.8, 1.6), (2.5,), (1.9, 1.5, 1.2), (None,))
    trials = [
        {
            "number": number,
            "values": {
                "train.learning_rate": 1e-3 * (1 + number),
                "data.order": "listed" if number % 2 else "shuffled",
                "layers": ["a", "b"] if number == 2 else "",
            },
            "told": losses,
            "state": "done" if len(losses) == 3 else "lost",
            "reason": "" if losses[0] else f"no memory {HOSTILE}",
        }
        for number, losses in enumerate(told)
    ]
    with run.produce("sweep") as work:
        table = {"rungs": [0.01, 0.03, 0.09], "own": own, "trials": trials}
        write_json(work.folder / "trials.json", table)
        seconds = {str(n): [40.0 * (r + 1) for r in range(len(t))] for n, t in enumerate(told)}
        write_json(work.folder / "spent.json", {"seconds": seconds if timed else {}})
        work.note(winner=winner, stopped=None)
    add_interval(run, "sweep", 360.0)


def check_rows(run: Run) -> None:
    """What the contamination check states."""
    counts = {"instances": 8, "contaminated": 1, "share": 0.125}
    clean = {"instances": 6, "contaminated": 0, "share": 0.0}
    example = {"question": f"What? {HOSTILE}", "file": "train.jsonl", "row": 3, "why": "13-gram"}
    scenarios = {
        "oneday": {
            **counts,
            "examples": [example],
            "run_specs": {"oneday:skill=counting": counts},
        },
        "mmlu": {**clean, "examples": [], "run_specs": {"mmlu:subject=anatomy": clean}},
    }
    found = {"method": "13 words in a row", "rows": 30, "scenarios": scenarios}
    write_json(run.path / "eval" / "contamination.json", found)


def build(root: Path, **values: Any) -> Run:
    """The whole run."""
    run = make_run(root, **{"model__arch": ARCH, **values})
    make_rows(run)
    make_model(run)
    for who in ("base", "tuned"):
        evaluate(run, who, ANSWERED)
    check_rows(run)
    return run


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals over 20 resamples: a thousand take seconds, and no test looks at their ends."""
    monkeypatch.setattr(bootstrap.intervals, "__defaults__", (20, 0))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs that holds it; only to be copied."""
    return build(tmp_path_factory.mktemp("built")).path.parent


@pytest.fixture
def whole(built: Path, tmp_path: Path) -> Run:
    """The whole run, in a folder of its own."""
    shutil.copytree(built, tmp_path / "runs")
    return make_run(tmp_path / "runs", model__arch=ARCH)
