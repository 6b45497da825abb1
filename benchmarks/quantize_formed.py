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

from benchmarks import divergence, peak
from benchmarks.client import connect, poster
from benchmarks.loads import STANDARD
from benchmarks.prompts import Writer
from benchmarks.serve import run_load
from benchmarks.servers import SERVERS, Setup, Unavailable, running
from tools.data.tokens import Row
from tools.errors import StageError
from tools.export import programs
from tools.files import read_json, write_json
from tools.recipe import written
from tools.recipe.load import load
from tools.run.exports import stage_of
from tools.run.folder import RECORD, Run
from tools.stages import gate

LOAD = "c4"  # of benchmarks.loads: 128-token prompts, 64 new tokens, 4 clients
VLLM = Path(".venv-vllm/bin/python")
ALL = 1e9  # ratio of perplexities that no format is refused for: it is what is to be seen
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
        score: mean of HELM's quick tier.
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
    """

    run: Run
    folder: Path
    rows: list[Row]
    perplexity: float = 0.0

    @property
    def recipe(self) -> Path:
        """Its recipe's file."""
        return self.folder / f"{self.run.recipe.name}.yaml"

    @property
    def reference(self) -> Path:
        """The merged model's logits."""
        return self.folder / "merged.npy"


def prepare(run: Run, folder: Path) -> Bench:
    """A copy of a run, of links, up to the merged model.

    Args:
        run: has data, adapter and merged model, of this version or an older one.
        folder: an empty one on the same disk.
    """
    recipe = dataclasses.replace(
        run.recipe, quantize=dataclasses.replace(run.recipe.quantize, max_perplexity_ratio=ALL)
    )
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
    found = _job(bench, "judge", folder=bench.run.output("merge"), logits=bench.reference)
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
    return _judged(bench, folder, line)


def quantized(bench: Bench, name: str, score: bool) -> Line:
    """A format of ``make quantize``, as far as it goes here."""
    line = Line(name)
    words = ("--set", f"quantize.format={name}")
    ended = verb(bench, "quantize", words)
    line.seconds, line.peak = ended.seconds, ended.peak / 1e9
    if ended.code:
        line.seconds = line.peak = None
        line.note = f"not made here: {last(ended.output)}"
        line.transformers = line.vllm = line.llama_cpp = "not run"
        return line
    line = _judged(bench, bench.run.output("quantize"), line)
    if score:
        _score(bench, words, line)
    return line


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
    line.megabytes, line.ratio = record["metrics"]["mb"], record["metrics"]["perplexity_ratio"]
    file = next(bench.run.output(stage_of(name)).glob("*.gguf"))
    line.kl, line.top1 = _by_llama(bench, file)
    line.llama_cpp = "yes"
    found = _child(bench, "gguf", {"file": str(file), **_request(bench, name)})
    line.transformers = last(found.output)[:60] if found.code else _agrees(found, line.top1)
    return line


def _agrees(found: peak.Ended, top1: float) -> str:
    """Whether transformers computes of a GGUF what llama.cpp does."""
    theirs = json.loads(found.output.splitlines()[-1])["top1"]
    return "yes" if theirs >= top1 - 0.05 else f"wrong: top-1 {theirs:.2f}"


def _by_llama(bench: Bench, file: Path) -> tuple[float, float]:
    into = bench.folder / "llama.npy"
    request = {
        "file": str(file),
        "threads": max(1, (os.cpu_count() or 2) - 1),
        "asked": list(divergence.wanted(bench.rows)),
        "into": str(into),
    }
    programs.write_logits(request, bench.folder / "llama.log")
    return divergence.compare(bench.reference, into)


def _judged(bench: Bench, folder: Path, line: Line) -> Line:
    line.megabytes = _megabytes(folder)
    try:
        found = _job(bench, "judge", folder=folder, logits=bench.folder / "other.npy")
    except StageError as error:
        line.transformers, line.note = "no", str(error)
        return line
    line.ratio = found["perplexity"] / bench.perplexity
    line.kl, line.top1 = found["kl"], found["top1"]
    _elsewhere(bench, folder, line)
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


def _score(bench: Bench, words: Sequence[str], line: Line) -> None:
    """HELM's quick tier: the mean over its run specs."""
    ended = verb(bench, "eval", (*words, "--set", "eval.tier=quick"))
    if ended.code:
        line.note = f"quick tier: {last(ended.output)}"
    scores = read_json(bench.run.output("eval_tuned") / "scores.json") or {}
    values = [one["value"] for one in scores.values()]
    line.score = sum(values) / len(values) if values and not ended.code else None


def _which(bench: Bench) -> tuple[str, ...]:
    return "--recipe", str(bench.recipe), "--runs", str(bench.run.path.parent)


def _request(bench: Bench, name: str) -> dict[str, Any]:
    return {
        "rows": bench.rows,
        "device": bench.run.recipe.hardware.device,
        "logits": str(bench.folder / f"{name}.npy"),
        "reference": str(bench.reference),
    }


def _job(bench: Bench, job: str, folder: Path, logits: Path) -> dict[str, Any]:
    """A job's answer.

    Raises:
        StageError: it failed.
    """
    request = {**_request(bench, job), "folder": str(folder), "logits": str(logits)}
    if logits == bench.reference:
        del request["reference"]
    ended = _child(bench, job, request)
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
