"""Spread over tasks of datatrove the rows are those of one process, to the byte, and its faults."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import make_run, maker, recipe
from tests.tools.data.spread import jobs
from tools.data import curated
from tools.data.prepare import prepare
from tools.data.spread import readings
from tools.data.spread.executor import Asked, Datatrove, asked, dealt
from tools.errors import StageError, UserError
from tools.recipe.operators.declared import (
    Allow,
    AnswerFormat,
    Augment,
    Dedup,
    Filter,
    Map,
    NearDedup,
    Sample,
    Strip,
)
from tools.recipe.schema import Source
from tools.run.folder import Run

FILES = ("train", "validation", "test", "shots")
WORDS = "amber basin cedar delta ember fjord grove haven inlet jetty".split()


def records(count: int, **more: Any) -> list[dict[str, Any]]:
    """Pairs, some of them twice, one of many words."""
    found = []
    for n in range(count):
        words = " ".join(WORDS[(n * step) % 10] for step in (1, 3, 7))
        answer = f"{words} [1] is {n % 90}" + " w" * (200 if n == 7 else 0)
        row = {"question": f"What is {n % 90} of {words}?", "answer": answer, "kind": f"k{n % 3}"}
        found.append(row | more)
    return found


def lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def mixture(folder: Path) -> dict[str, Source]:
    """Sources of every format, with operators; a maker among them."""
    import pyarrow as pa
    import zstandard
    from pyarrow import parquet

    folder.mkdir(parents=True)
    many = folder / "many"
    many.mkdir()
    (many / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(records(150)))
    (many / "b.jsonl.gz").write_bytes(gzip.compress(lines(records(40, question="Packed?"))))
    cells = [f'"Of {n}, then?","answer, {n}\nof two lines",k' for n in range(30)]
    text = "question,answer,kind\r\n" + "\r\n".join(cells)
    (many / "c.csv.zst").write_bytes(zstandard.compress(text.encode()))
    (many / "d.json").write_text(json.dumps(records(35)[20:]))
    parquet.write_table(pa.Table.from_pylist(records(60)), many / "e.parquet")
    chat = [
        {"messages": [{"role": ("user", "assistant")[at % 2], "content": f"{n} {at}"}
                      for at in range(n % 4 + 1)]}
        for n in range(40)
    ]  # fmt: skip
    (folder / "chat.jsonl").write_bytes(lines(chat))
    flat = []
    for n in range(20):
        common = {"lang": "en", "deleted": False, "review_result": True, "synthetic": False}
        flat.append({"message_id": f"q{n}", "parent_id": None, "text": f"Why {n}?",
                     "role": "prompter", "rank": None} | common)  # fmt: skip
        for rank in range(2):
            flat.append({"message_id": f"a{n}{rank}", "parent_id": f"q{n}", "text": f"As {rank}.",
                         "role": "assistant", "rank": rank} | common)  # fmt: skip
    # Answers far from their questions: a tree is no matter of a part of a file.
    flat.sort(key=lambda one: str(one["role"]))
    (folder / "tree.jsonl").write_bytes(lines(flat))
    choices = [{"question": f"Which {n}?", "choices": ["red", "blue", f"no {n}"], "answer": n % 3}
               for n in range(50)]  # fmt: skip
    (folder / "mcq.jsonl").write_bytes(lines(choices))
    hub = folder / "hub"
    hub.mkdir()
    (hub / "train.jsonl").write_bytes(lines(records(45, kind="hub")))
    own: dict[str, Any] = {"licence": "MIT", "origin": "human"}
    return {
        "many": Source(
            "local",
            str(many),
            **own,
            operators=[
                {"strip": Strip(["citations"])},
                {"allow": Allow("kind", ["k", "k0", "k1"])},
                {"filter": Filter(min_words=3)},
                {"map": Map("prompt", pattern="delta", to="Delta")},
                {"dedup": Dedup(by="completion")},
                {"near_dedup": NearDedup(3, 0.9)},
                {"sample": Sample(share=0.9, by="kind")},
                {"augment": Augment("few_shot", 0.3, 2)},
            ],
        ),
        "counting": maker("counting", 20),
        "chat": Source("local", str(folder / "chat.jsonl"), **own),
        "tree": Source("local", str(folder / "tree.jsonl"), **own, shape="tree"),
        "mcq": Source("local", str(folder / "mcq.jsonl"), **own, rows=40),
        "hub": Source(
            "hub",
            str(hub),
            **own,
            prompt="Q: {question}",
            completion=" {answer}",
            operators=[{"answer_format": AnswerFormat("number")}],
        ),
    }


def made(root: Path, sources: dict[str, Source], executor: str = "", **values: Any) -> Run:
    run = make_run(root, data__sources=sources, data__held_out_share=0.2, **values)
    prepare(run, executor)
    return run


def content(run: Run) -> dict[str, bytes]:
    return {name: (run.output("data") / f"{name}.jsonl").read_bytes() for name in FILES}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are cut and operators spread that are small, as large ones are."""
    monkeypatch.setattr(readings, "PART", 500)
    monkeypatch.setattr(curated, "BATCH", 40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def told(captured: str) -> list[str]:
    return [line for line in captured.splitlines() if "data: reading by" not in line]


@pytest.mark.usefixtures("small", "cache")
def test_two_tasks_make_the_bytes_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = mixture(tmp_path / "files")
    mix: dict[str, Any] = {
        "data__operators": [{"filter": Filter(lacks="w w")}, {"dedup": Dedup(by="prompt")}]
    }
    alone = made(tmp_path / "alone", sources, **mix)
    said = told(capsys.readouterr().out)
    spread = made(tmp_path / "spread", sources, "datatrove:2", **mix)
    assert content(spread) == content(alone)
    assert told(capsys.readouterr().out) == said
    one, other = alone.record("data"), spread.record("data")
    assert one and other and one["metrics"] == other["metrics"]
    assert one["fingerprint"] == other["fingerprint"], "who reads is no part of what is made"
    assert not list(spread.path.glob(".data.*")), "nothing is left beside the rows"
    log = (spread.logs / "data-tasks.log").read_text()
    assert log.count("Processing done for rank=1") >= 2, "reading and operators were spread"


def test_more_tasks_than_files(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(lines(records(60)))
    sources = {"own": Source("local", str(file), "MIT", "human")}
    spread = made(tmp_path / "spread", sources, "datatrove:3")
    assert content(spread) == content(made(tmp_path / "alone", sources))


FAULTS = {
    "late in a part": (b'{"question": "a", "answer": "b", "kind": 1, "kind": 2}\n', ":151: field"),
    "no UTF-8": (b'{"question": "\xff", "answer": "b"}\n', ":151: not UTF-8 (byte 0xff)"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", FAULTS)
def test_the_first_fault_is_told_with_its_file_and_row(kind: str, tmp_path: Path) -> None:
    line, said = FAULTS[kind]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_bytes(lines(records(150)) + line)
    two.write_bytes(lines(records(40)) + b'{"question": "at once"}\n')
    sources = {path.stem: Source("local", str(path), "MIT", "human") for path in (one, two)}
    faults = []
    for way in ("", "datatrove:2"):
        with pytest.raises(UserError) as caught:
            made(tmp_path / "runs", sources, way)
        faults.append(caught.value.faults)
        assert not [path for path in (tmp_path / "runs" / "tiny").iterdir() if "data" in path.name]
    assert faults[0] == faults[1] and f"{one}{said}" in faults[0][0]


def test_a_killed_task_is_told_and_only_it_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {}
    for name in ("one", "two", "three"):
        path = tmp_path / f"{name}.jsonl"
        own = [row | {"question": f"{name}: {row['question']}"} for row in records(60)]
        path.write_bytes(lines(own))
        sources[name] = Source("local", str(path), "MIT", "human", operators=[{"dedup": Dedup()}])
    monkeypatch.setattr(readings, "read_part", jobs.killed_once)
    with pytest.raises(StageError, match=r"1 of 2 tasks ended early \(task \d was killed by sig"):
        made(tmp_path / "runs", sources, "datatrove:2")
    folder = tmp_path / "runs" / "tiny"
    assert not (folder / "data").exists() and not (folder / ".data.partial").exists()
    spread = made(tmp_path / "runs", sources, "datatrove:2")
    seen = [Path(line).stem for line in (folder / "seen").read_text().splitlines()]
    assert sorted(seen) == ["one", "three", "two", "two"]
    assert content(spread) == content(made(tmp_path / "alone", sources))
    assert not list(folder.glob(".data.*"))


def test_what_is_no_fault_of_a_row_is_told_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    executor = Datatrove(Asked("datatrove", 2), tmp_path / "tasks", log)
    with pytest.raises(StageError, match="task 1 failed with code 1"):
        list(executor(jobs.broken, [1, 0]))
    assert "ZeroDivisionError" in log.read_text()
    executor = Datatrove(Asked("datatrove", 1), tmp_path / "others", log)
    found = executor(jobs.full, [0, 1])
    assert next(found) == 0
    with pytest.raises(OSError, match="No space left on device"):
        next(found)


SBATCH = """#!/bin/sh
for last; do :; done
echo "$@" >> "$CALLS"; cat "$last" >> "$CALLS"
if grep -q launch_pickled_pipeline "$last"; then
  for rank in 0 1; do SLURM_ARRAY_TASK_ID=$rank SLURM_NODELIST=here bash "$last" 1>&2; done
fi
echo Submitted batch job 7
"""
STAND_INS = {
    "sbatch": SBATCH,
    "srun": '#!/bin/sh\nwhile [ "${1#-}" != "$1" ] || [ "$1" = 1 ]; do shift; done\nexec "$@"\n',
    "scontrol": "#!/bin/sh\necho here\n",
    "squeue": '#!/bin/sh\necho "$SQUEUE"\n',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of Slurm, which is not here: a job is done when it is handed in; its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in STAND_INS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_slurm_is_handed_the_same_pipeline(slurm: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(lines(records(60)))
    sources = {"own": Source("local", str(file), "MIT", "human")}
    word = "datatrove-slurm:2,partition=cpu,time=01:00:00,account=mine"
    spread = made(tmp_path / "spread", sources, word)
    assert content(spread) == content(made(tmp_path / "alone", sources))
    script = slurm.read_text()
    for part in ("--partition=cpu", "--time=01:00:00", "--account=mine", "--array=0-1"):
        assert f"#SBATCH {part}" in script


def test_a_job_of_slurms_that_goes_on_is_not_handed_in_again(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "sbatch").write_text('#!/bin/sh\necho x >> "$CALLS"\necho job 7\n')
    file = tmp_path / "own.jsonl"
    file.write_bytes(lines(records(60)))
    sources = {"own": Source("local", str(file), "MIT", "human")}
    word = "datatrove-slurm:2,partition=cpu,time=01:00:00"
    monkeypatch.setenv("SQUEUE", "7 cpu oneday-data R")
    for _ in range(2):
        with pytest.raises(StageError, match="Slurm has the tasks as job 7"):
            made(tmp_path / "runs", sources, word)
    assert slurm.read_text().count("x") == 2, "one job, and one that joins its statistics"
    assert not (tmp_path / "runs" / "tiny" / "data").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("datatorve:2", "no executor; did you mean datatrove?"),
        ("datatrove", "say into how many tasks the work is cut, as datatrove:4"),
        ("datatrove:0", "say into how many tasks"),
        ("datatrove:2,time=1", "takes the number of tasks alone"),
        ("datatrove-slurm:2,time=1", "Slurm wants partition: datatrove-slurm:2,partition=NAME"),
    ],
)
def test_an_executor_that_is_none(word: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        asked(word)
    assert said in caught.value.faults[0] and caught.value.faults[0].startswith(f"EXECUTOR={word}")


def test_without_the_package_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="datatrove is not installed here; run: make setup"):
        asked("datatrove:2")


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools", "data", "--hw", "cpu", "--runs", str(tmp_path)]
    done = subprocess.run(
        [*command, "--executor", "datatrove:none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == "" and not list(tmp_path.iterdir())
    assert done.stderr.startswith("error: EXECUTOR=datatrove:none: say into how many tasks")


def test_work_is_dealt_by_size_and_none_is_lost() -> None:
    class Job:
        def __init__(self, size: int) -> None:
            self.size = size

    sizes = [9, 1, 1, 1, 5, 5]
    found = dealt([Job(size) for size in sizes], 2)
    assert sorted(at for task in found for at in task) == list(range(6))
    assert [sum(sizes[at] for at in task) for task in found] == [11, 11]
    assert dealt([], 3) == [[], [], []]


def test_a_recipe_of_makers_alone_needs_no_task(tmp_path: Path) -> None:
    run = Run(recipe(), tmp_path)
    prepare(run, "datatrove:2")
    assert (run.output("data") / "train.jsonl").is_file()
    assert not (run.logs / "data-tasks.log").exists()
