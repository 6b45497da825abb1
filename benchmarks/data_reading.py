"""Reading as a user has it: a file of many rows through ``make data``, beside an older build.

``python -m benchmarks.data --old FOLDER`` calls it: FOLDER is a clone of this repository at an
older commit (``git worktree add FOLDER 021b9b3``), run by the same Python. CPU seconds are those of
the whole verb and its children, the peak is the largest process's.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.data_rows import Writer

RECIPE = """defaults: [cpu, debug/no-sources]
data:
  sources:
    mine:
      kind: jsonl
      path: {path}
      licence: MIT
      origin: human
      prompt: "Question: {{question}}\\n{{context}}\\nAnswer:"
      completion: " {{answer}}"
"""
ROOT = Path(__file__).resolve().parents[1]
Found = dict[str, Any]


def lines(count: int, seed: int) -> Iterator[str]:
    """Rows such as dolly's, about 450 bytes each; an eighth has a prompt of before."""
    import json

    writer, rng = Writer(seed), random.Random(seed)
    stock = [writer.sentence(rng.randint(8, 40)) for _ in range(5000)]
    for number in range(count):
        asked = number if rng.random() < 0.875 else rng.randrange(number + 1)
        draw = random.Random(asked)
        row = {
            "question": f"{draw.choice(stock)} ({asked})",
            "context": draw.choice(stock) if draw.random() < 0.3 else "",
            "answer": f"{rng.choice(stock)} {rng.choice(stock)}",
            "category": draw.choice(("open_qa", "closed_qa", "brainstorming")),
        }
        yield json.dumps(row) + "\n"


def verb(build: Path, folder: Path, runs: str = "runs") -> Found:
    """``make data`` of one build.

    Args:
        build: the folder of its code.
        folder: has the recipe; gets its runs.
        runs: the name of their folder: another for each build, or the second finds the first's.

    Raises:
        SystemExit: it failed; its output was printed.
    """
    command = [sys.executable, "-m", "tools", "data", "--recipe", str(folder / "own.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(build), "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(
            [*command, "--runs", str(folder / runs)],
            cwd=build,
            env=environment,
            stdout=log,
            stderr=log,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(f"{build}: {log.read()[-2000:].decode()}")
    written = sum(file.read_bytes().count(b"\n") for file in (folder / runs).rglob("train.jsonl"))
    cpu = used.ru_utime + used.ru_stime
    return {"build": build.name, "cpu": cpu, "peak": used.ru_maxrss / 1024, "written": written}


def beside(old: Path | None, count: int, seed: int, folder: Path, turns: int = 2) -> list[Found]:
    """Both builds on the same rows, one after the other in turn; of each the best turn.

    Args:
        old: the older build's folder; None: this one alone.
        count: of rows.
        seed: of rows.
        folder: for files.
        turns: how often.
    """
    path = folder / "reading.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines(count, seed))
    (folder / "own.yaml").write_text(RECIPE.format(path=path), encoding="utf-8")
    builds = [ROOT, *([old.resolve()] if old else [])]
    found = [
        [verb(build, folder / str(turn), f"runs-{place}") for place, build in enumerate(builds)]
        for turn in _made(folder, turns)
    ]
    return [
        {**one[0], "rows": count, "cpu": min(turn["cpu"] for turn in one),
         "peak": min(turn["peak"] for turn in one)}
        for one in zip(*found, strict=True)
    ]  # fmt: skip


def _made(folder: Path, turns: int) -> Iterator[int]:
    """Each turn in a folder of its own, with the recipe: what is done is not done again."""
    for turn in range(turns):
        (folder / str(turn)).mkdir()
        (folder / str(turn) / "own.yaml").write_bytes((folder / "own.yaml").read_bytes())
        yield turn


def said(found: list[Found]) -> Iterator[str]:
    """A line a build, and the ratios, with what they should be at most."""
    for one in found:
        yield (
            f"  reading, {one['rows']:,} rows, {one['build']}: {one['cpu']:.1f} CPU s, peak "
            f"{one['peak']:.0f} MB, {one['written']:,} rows to learn"
        )
    if len(found) > 1:
        new, old = found
        yield (
            f"  reading, new : old: CPU {new['cpu'] / old['cpu']:.2f} (wanted: 0.60 at most), "
            f"peak {new['peak'] / old['peak']:.2f} (wanted: 0.45 at most)"
        )
