"""``python -m benchmarks.data``: duplicates and contamination in 200,000 rows, beside other tools.

Rows and items are seeded, copies are planted (``benchmarks.data_rows``), so what must be found is
known. Every job is a process of its own, one at a time; CPU seconds are those of all its threads,
without reading the texts. ``--peers FOLDER`` has rensa, datatrove and lm-eval, as put there by::

    pip install --no-deps --target FOLDER rensa datatrove lm-eval loguru dill multiprocess \
        humanize 'xxhash<4'

``--old FOLDER`` adds reading through ``make data``, beside an older build: see
``benchmarks.data_reading``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from tabulate import tabulate
from xxhash import xxh3_128_digest

from benchmarks import data_reading
from benchmarks.data_rows import Row, alike, items, planted, rows
from tools.console import say

THRESHOLD, GRAM = 0.7, 3
OWN = ("exact", "exact loop", "near", "decontaminate")
PEERS = ("rensa", "datatrove", "janitor", "datatrove items")
Found = dict[str, Any]


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=60_000)
    parser.add_argument("--peer-rows", type=int, default=50_000, help="of the slow tools")
    parser.add_argument("--peers", type=Path, help="folder with the other tools")
    parser.add_argument("--old", type=Path, help="an older build of ours, to read beside")
    parser.add_argument("--read-rows", type=int, default=500_000, help="for reading")
    parser.add_argument("--only", default="", choices=("", "reading", "exact"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--job", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def own(job: str, texts: Path, questions: Path, count: int) -> Found:
    """One of our jobs, in this process.

    Args:
        job: one of ``OWN``.
        texts: JSON lines with ``prompt`` and ``completion``.
        questions: JSON lines with ``text``.
        count: of the rows, the first so many.
    """
    from tools.curate.contaminated import decontaminate
    from tools.curate.exact import dedup
    from tools.curate.near import near_dedup
    from tools.recipe.operators.declared import Decontaminate, Dedup, NearDedup

    with texts.open(encoding="utf-8") as file:
        found = [json.loads(line) for line in islice(file, count)]
    table = pa.table(
        {
            "source": pa.array(["own"] * len(found)),
            "place": pa.array([str(number) for number in range(len(found))]),
            "prompt": pa.array([row["prompt"] for row in found]),
            "completion": pa.array([row["completion"] for row in found]),
        }
    )
    del found
    with questions.open(encoding="utf-8") as file:
        asked = [json.loads(line)["text"] for line in file]
    start, memory = _cpu(), _peak()
    if job == "exact":
        result = dedup(table, 0, Dedup())
    elif job == "exact loop":
        gone = looped(table)
        return {"cpu": _cpu() - start, "index": 0.0, "found": gone, "peak": _peak()}
    elif job == "near":
        result = near_dedup(table, 0, NearDedup(GRAM, THRESHOLD))
    else:
        result = decontaminate(table, 0, Decontaminate(), {"own": asked})
    used = _cpu() - start
    stay = set(result.rows.column("place").to_pylist())
    gone = [number for number in range(count) if str(number) not in stay]
    index = _index(asked) if job == "decontaminate" else 0.0
    return {"cpu": used, "index": index, "found": gone, "peak": _peak(), "texts": memory}


def looped(table: pa.Table) -> list[int]:
    """Exact duplicates as a plain loop finds them, by words alone: what the operator is held to."""
    from tools.curate.overlap import words

    seen: set[bytes] = set()
    found = []
    pairs = (table.column(name).to_pylist() for name in ("prompt", "completion"))
    for number, pair in enumerate(zip(*pairs, strict=True)):
        key = xxh3_128_digest(" ".join(words("\n".join(pair))).encode())
        if key in seen:
            found.append(number)
        seen.add(key)
    return found


def _index(asked: list[str]) -> float:
    """CPU seconds of the index alone, made once more."""
    from tools.curate.search import Search

    start = _cpu()
    Search(asked)
    return _cpu() - start


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(job: str, folder: Path, rows_: str, count: int, peers: Path | None) -> Found:
    """One job in a process of its own.

    Raises:
        SystemExit: it failed; its output was printed.
    """
    files = [str(folder / rows_), str(folder / "items.jsonl"), str(count)]
    work = tempfile.mkdtemp(dir=folder)
    environment = dict(os.environ)
    if job in OWN:
        command = [sys.executable, "-m", "benchmarks.data", "--job", job, *files]
    else:
        script = str(Path(__file__).with_name("data_peers.py"))
        command = [sys.executable, script, job, *files, work]
        environment["PYTHONPATH"] = str(peers)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job}: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    found |= {"job": job, "rows": count}
    rate = count / found["cpu"]
    say(f"  {job}, {count:,} rows: {found['cpu']:.1f} CPU s, {rate:,.0f} rows per CPU s")
    return found


def duplicates(made: list[Row], found: Found) -> dict[str, Any]:
    """How right a job was about duplicates: recall, wrong ones, and groups that lost all."""
    gone, count = set(found["found"]), found["rows"]
    part = made[:count]
    firsts = {row.origin for row in part if row.kind == "u"}
    whole = [row for row in part if row.kind in ("u", "s") or row.origin in firsts]
    pairs = [pair for pair in alike_in(part, firsts) if pair[2] >= THRESHOLD]
    caught = sum(one in gone or other in gone for one, other, _ in pairs)
    copied = {row.origin for row in whole if row.kind not in ("u", "s")}
    groups: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(part):
        groups[row.origin].append(number)
    wrong = sum(part[n].kind in ("u", "s") and part[n].origin not in copied for n in gone)
    kinds: Counter[str] = Counter(part[n].kind for n in range(count) if _in_pair(part, n, groups))
    lost = Counter(part[n].kind for n in range(count) if _caught(part, n, groups, gone))
    return {
        "recall": caught / max(len(pairs), 1),
        "wrong": wrong,
        "both": sum(len(group) > 1 and all(n in gone for n in group) for group in groups.values()),
        **{kind: lost[kind] / kinds[kind] for kind in sorted(kinds)},
    }


def alike_in(part: list[Row], firsts: set[int]) -> list[tuple[int, int, float]]:
    """Planted pairs of which both rows are among the first so many."""
    kept = [row for row in part if row.kind in ("u", "s") or row.origin in firsts]
    numbers = [n for n, row in enumerate(part) if row.kind in ("u", "s") or row.origin in firsts]
    return [(numbers[one], numbers[other], share) for one, other, share in alike(kept, GRAM)]


def _in_pair(part: list[Row], number: int, groups: dict[int, list[int]]) -> bool:
    return part[number].kind not in ("u", "s") and len(groups[part[number].origin]) > 1


def _caught(part: list[Row], number: int, groups: dict[int, list[int]], gone: set[int]) -> bool:
    """Whether a copy and what it was made of do not both stay."""
    group = groups[part[number].origin]
    return _in_pair(part, number, groups) and any(one in gone for one in group)


def contamination(truth: dict[int, tuple[str, int]], found: Found) -> dict[str, Any]:
    """Which share of the planted items a job found, by kind, and how many other rows."""
    gone = set(found["found"])
    held = [(kind, row) for kind, row in truth.values() if row < found["rows"]]
    total, hit = Counter(kind for kind, _ in held), Counter(k for k, row in held if row in gone)
    others = len(gone - {row for _, row in truth.values()})
    return {**{kind: hit[kind] / total[kind] for kind in "vcotsa"}, "others": others}


def write(
    folder: Path, options: argparse.Namespace
) -> tuple[list[Row], dict[int, tuple[str, int]]]:
    """Make rows and items; ``rows.jsonl`` has duplicates only, ``planted.jsonl`` items, too."""
    made = rows(options.rows, options.seed)
    asked = items(options.items, options.seed + 1)
    _dump(folder / "rows.jsonl", made)
    mixed = list(made)
    truth = planted(mixed, asked, max(options.items // 100, 1), options.seed)
    _dump(folder / "planted.jsonl", mixed)
    lines = "".join(f"{json.dumps({'text': text})}\n" for text in asked)
    (folder / "items.jsonl").write_text(lines, encoding="utf-8")
    return made, truth


def _dump(path: Path, made: list[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in made:
            value = {"prompt": row.prompt, "completion": row.completion, "text": row.text}
            file.write(f"{json.dumps(value)}\n")


def plan(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Jobs, their rows and how many: those that are compared one after the other."""
    most, few = options.rows, min(options.peer_rows, options.rows)
    found = [("exact", "rows.jsonl", most), ("exact loop", "rows.jsonl", most)]
    if options.only:
        return found if options.only == "exact" else []
    found.append(("near", "rows.jsonl", most))
    if options.peers:
        found += [("rensa", "rows.jsonl", most), ("datatrove", "rows.jsonl", few)]
    found.append(("decontaminate", "planted.jsonl", most))
    if options.peers:
        found += [("janitor", "planted.jsonl", few), ("datatrove items", "planted.jsonl", most)]
    found += [("near", "rows.jsonl", count) for count in (most // 4, most // 2)]
    return [*found, ("decontaminate", "planted.jsonl", most // 2)]


def table(done: list[Found]) -> str:
    """The figures, a line a job."""
    heads = ["job", "rows", "CPU s", "of which index", "rows per CPU s, scan", "peak MB", "found"]
    lines = [
        [
            one["job"],
            one["rows"],
            round(one["cpu"], 1),
            round(one["index"], 1),
            round(one["rows"] / max(one["cpu"] - one["index"], 0.01)),
            round(one["peak"]),
            said(one["right"]),
        ]
        for one in done
    ]
    return tabulate(lines, heads, intfmt=",")


def said(right: dict[str, Any]) -> str:
    """How right a job was, in a line."""
    return " ".join(
        f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
        for key, value in right.items()
    )


def main(words: Sequence[str] = sys.argv[1:]) -> None:
    """Run it."""
    options = parse_arguments(words)
    if options.job:
        job, texts, questions, count = options.job
        print(json.dumps(own(job, Path(texts), Path(questions), int(count))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; making rows")
        done: list[Found] = []
        if options.only in ("", "reading"):
            read = data_reading.beside(options.old, options.read_rows, options.seed, folder)
            say("\n".join(data_reading.said(read)))
            done += [one | {"job": "reading"} for one in read]
        if options.only == "reading":
            return _kept(options.json, done)
        made, truth = write(folder, options)
        for job, name, count in plan(options):
            found = run(job, folder, name, count, options.peers)
            duplicate = name == "rows.jsonl"
            found["right"] = duplicates(made, found) if duplicate else contamination(truth, found)
            say(f"    {said(found['right'])}; load {os.getloadavg()[0]:.1f}")
            done.append({key: value for key, value in found.items() if key != "found"})
        say(table([one for one in done if one["job"] != "reading"]))
    _kept(options.json, done)


def _kept(path: Path | None, done: list[Found]) -> None:
    if path:
        path.write_text(json.dumps(done, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
