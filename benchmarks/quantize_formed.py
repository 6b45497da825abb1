"""A format of a run: made, judged, served, loaded elsewhere; each step in a process of its own."""

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks import peak
from benchmarks.client import connect, poster
from benchmarks.loads import STANDARD
from benchmarks.prompts import Writer
from benchmarks.serve import run_load
from benchmarks.servers import SERVERS, Setup, Unavailable, running
from tools.data.tokens import Row
from tools.errors import StageError
from tools.files import write_json
from tools.recipe import written
from tools.recipe.load import load
from tools.run.exports import stage_of
from tools.run.folder import RECORD, Run
from tools.stages import gate

LOAD = "c4"  # of benchmarks.loads: 128-token prompts, 64 new tokens, 4 clients
VLLM = Path(".venv-vllm/bin/python")
_VLLM_TRY = (
    "import sys; from vllm import LLM, SamplingParams;"
    "net = LLM(sys.argv[1], enforce_eager=True, max_model_len=512);"
    "print(net.generate(['One'], SamplingParams(max_tokens=4))[0].outputs[0].token_ids)"
)


@dataclass
class Line:
    """A line of the table; None and empty: not measured.

    Attributes:
        name: of the format.
        seconds: the verb took, its own proof included.
        megabytes: of the weights.
        peak: GB resident while it was made.
        ratio: of perplexities, to the merged model's.
        kl: mean KL(merged || this), nats.
        top1: share of tokens whose likeliest is the merged model's.
        score: mean of HELM's quick tier, as the gate asks it.
        speed: new tokens a second of the worker.
        transformers, vllm, llama_cpp: whether each loads it: yes, no, or why it was not tried.
        note: where it ended.
    """

    name: str
    seconds: float | None = None
    megabytes: float | None = None
    peak: float | None = None
    ratio: float | None = None
    kl: float | None = None
    top1: float | None = None
    score: float | None = None
    speed: float | None = None
    transformers: str = ""
    vllm: str = ""
    llama_cpp: str = ""
    note: str = ""


@dataclass
class Bench:
    """What all formats are measured with.

    Attributes:
        run: a run of the same recipe in a folder of its own, merged.
        folder: for files.
        rows: held-out rows.
        perplexity: of the merged model; 0 until it was asked.
        score: of the merged model on the quick tier; None until a format was scored beside it.
    """

    run: Run
    folder: Path
    rows: list[Row]
    perplexity: float = 0.0
    score: float | None = None

    @property
    def recipe(self) -> Path:
        """Its recipe's file."""
        return self.folder / f"{self.run.recipe.name}.yaml"

    @property
    def reference(self) -> Path:
        """What the merged model says of the rows, as ``tools.stages.divergence`` writes it."""
        return self.folder / "merged.f16"


def prepare(run: Run, folder: Path) -> Bench:
    """A copy of a run, of links, up to the merged model.

    Args:
        run: has data, adapter and merged model, of this version or an older one.
        folder: an empty one on the same disk.
    """
    # Kept whatever it is: that is what is to be seen.
    kept = dataclasses.replace(run.recipe.quantize, keep=True, max_score_drop=1.0)
    recipe = dataclasses.replace(run.recipe, quantize=kept)
    (folder / f"{recipe.name}.yaml").write_text(written.text(recipe), encoding="utf-8")
    copy = Run(load(folder / f"{recipe.name}.yaml").recipe, folder / "runs")
    with copy.lock():
        for stage in ("data", "train", "merge"):
            with copy.produce(stage) as work:
                _link(run.output(stage), work.folder)
    return Bench(copy, folder, gate.rows_of(copy))


def _link(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file() and path.name != RECORD:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path.resolve(), place)


def verb(bench: Bench, name: str, words: Sequence[str]) -> peak.Ended:
    """One of the tool's verbs to its end, in the bench's run."""
    command = [sys.executable, "-m", "tools", name, *_which(bench), *words]
    return peak.run(command, bench.folder / "log", Path.cwd())


def last(output: str) -> str:
    """What a program ended with: its errors, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return "; ".join(errors) or (lines or ["no word"])[-1]


def merged(bench: Bench) -> Line:
    """The merged model itself, which all others are held against."""
    line = Line("merged", megabytes=_megabytes(bench.run.output("merge")))
    found = _job(bench, "reference", folder=str(bench.run.output("merge")))
    bench.perplexity = found["perplexity"]
    line.ratio, line.kl, line.top1 = 1.0, 0.0, 1.0
    _elsewhere(bench, bench.run.output("merge"), line)
    return line


def cast(bench: Bench, name: str) -> Line:
    """The merged model in other numbers."""
    line, folder = Line(name), bench.folder / f"merged-{name}"
    source = bench.run.output("merge")
    made = _child(bench, "cast", {"source": str(source), "folder": str(folder), "format": name})
    line.seconds, line.peak = made.seconds, made.peak / 1e9
    if made.code:
        line.note = last(made.output)
        return line
    try:
        found = _job(bench, "compare", folder=str(folder))
    except StageError as error:
        line.transformers, line.note = "no", str(error)
        return line
    _tell(line, found)
    line.megabytes = _megabytes(folder)
    _elsewhere(bench, folder, line)
    return line


def quantized(bench: Bench, name: str, score: bool) -> Line:
    """A format of ``make quantize``, as far as it goes here."""
    line = Line(name)
    tier = ("--set", "quantize.tier=quick") if score else ()
    ended = verb(bench, "quantize", ("--set", f"quantize.format={name}", *tier))
    if ended.code:
        line.note = f"not made here: {last(ended.output)}"
        line.transformers = line.vllm = line.llama_cpp = "not run"
        return line
    line.seconds, line.peak = ended.seconds, ended.peak / 1e9
    record = bench.run.record("quantize")
    assert record
    _tell(line, record["metrics"])
    if score:
        asked = record["metrics"]["tier"]
        line.score, bench.score = asked["quantized"], asked["merged"]
    _elsewhere(bench, bench.run.output("quantize"), line)
    return line


def _tell(line: Line, found: dict[str, Any]) -> None:
    """The figures that the gate has, by its names."""
    line.ratio, line.kl = found["perplexity_ratio"], found.get("kl")
    line.top1 = found.get("top1")  # neither where llama.cpp has other words
    line.megabytes = found.get("quantized_mb", found.get("mb"))


def gguf(bench: Bench, name: str) -> Line:
    """A type of ``make export``."""
    line = Line(name, vllm="not run: its GGUF wants a card")
    ended = verb(bench, "export", ("--type", name))
    if ended.code:
        line.note = f"not made here: {last(ended.output)}"
        line.transformers = line.llama_cpp = "not run"
        return line
    line.seconds, line.peak = ended.seconds, ended.peak / 1e9
    record = bench.run.record(stage_of(name))
    assert record
    _tell(line, record["metrics"])
    line.llama_cpp = "yes"
    file = next(bench.run.output(stage_of(name)).glob("*.gguf"))
    try:
        theirs: float = _job(bench, "gguf", file=str(file))["top1"]
    except StageError as error:
        line.transformers = str(error)[:60]
        return line
    # Whether transformers computes of it what llama.cpp does.
    right = theirs >= (line.top1 or 0.0) - 0.05
    line.transformers = "yes" if right else f"wrong: top-1 {theirs:.2f}"
    return line


def _elsewhere(bench: Bench, folder: Path, line: Line) -> None:
    """Transformers has computed with it; who else does, and how fast the worker is."""
    line.transformers, line.llama_cpp = "yes", "no: reads GGUF only"
    line.vllm = _vllm(folder, bench.folder / "vllm.log")
    try:
        line.speed = _speed(bench, folder)
    except (Unavailable, StageError) as error:
        line.note = f"the worker: {error}"


def _vllm(folder: Path, log: Path) -> str:
    if not VLLM.is_file():
        return f"not run: no {VLLM.parts[0]}"
    ended = peak.run([str(VLLM), "-c", _VLLM_TRY, str(folder)], log, Path.cwd())
    return f"no: {last(ended.output)[:80]}" if ended.code else "yes"


def _speed(bench: Bench, folder: Path) -> float:
    serve = dataclasses.replace(bench.run.recipe.serve, rules={}, adapters={})
    setup = Setup(folder, serve, bench.folder, bench.run.recipe.hardware.device)
    load_ = next(load for load in STANDARD if load.name == LOAD)
    writer = Writer(Tokenizer.from_file(str(folder / "tokenizer.json")), LOAD)
    questions = load_.questions(writer, load_.requests)

    async def ask(url: str) -> float:
        async with connect(url) as session:
            figures, _ = await run_load(poster(session), SERVERS["ours"], load_, questions)
        return figures["tok_s"]

    with running(SERVERS["ours"], setup, ()) as worker:
        return asyncio.run(ask(worker.url))


def _which(bench: Bench) -> tuple[str, ...]:
    return "--recipe", str(bench.recipe), "--runs", str(bench.run.path.parent)


def _job(bench: Bench, job: str, **request: Any) -> dict[str, Any]:
    """A job's answer.

    Raises:
        StageError: it failed.
    """
    shared = {
        "rows": bench.rows,
        "device": bench.run.recipe.hardware.device,
        "reference": str(bench.reference),
    }
    ended = _child(bench, job, {**shared, **request})
    if ended.code:
        raise StageError(last(ended.output))
    found: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return found


def _child(bench: Bench, job: str, request: dict[str, Any]) -> peak.Ended:
    file = bench.folder / "request.json"
    write_json(file, request)
    words = [sys.executable, "-m", "benchmarks.quantize_jobs", job, str(file)]
    return peak.run(words, bench.folder / "job.log", Path.cwd())


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
