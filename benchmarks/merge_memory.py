"""``python -m benchmarks.merge_memory``: peak memory of `make merge` and `make quantize`.

A random Llama of 1.14 GB in bf16 with an adapter of random numbers, on the CPU, the verbs as users
call them, every one in a process of its own; beside it what ``make plan`` says. ``--old FOLDER``: a
clone of this repository at an older commit (``git worktree add FOLDER 021b9b3``) does the same
with the same files, by the same Python.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks import peak, random_model
from tools.console import say

ROOT = Path(__file__).resolve().parents[1]
MOST = 0.6  # of the older build's peak
RANK = 16
WAYS = {
    "lora": "adapter: lora\n  lora_target_linear: true",
    "qlora": "adapter: qlora\n  load_in_4bit: true\n  lora_target_linear: true",
}
FORMATS = ("nf4", "int8")
RECIPE = """defaults: [cpu, debug/no-sources]
model:
  id: own/random
  source: local
  package: null
  path: {base}
  family: Llama 2
  licence: MIT
  instruct: false
  context: 2048
  eos: <|im_end|>
  pad: <|endoftext|>
  arch: null
train:
  {way}
data:
  sources:
    counting: {{kind: generator, path: counting, licence: CC0-1.0, origin: program, rows: 60}}
  validation_rows: 8
  test_rows: 4
quantize: {{max_perplexity_ratio: 1000, perplexity_rows: 4}}
"""
#: Run by each build in its own words: an adapter that nobody trained, as its train stage's output.
ADOPT = """
import shutil, sys
from pathlib import Path
from tools.recipe.load import load
from tools.run.folder import Run
run = Run(load(Path(sys.argv[1])).recipe, Path(sys.argv[2]))
with run.lock(), run.produce("train") as work:
    shutil.copytree(sys.argv[3], work.folder, dirs_exist_ok=True)
"""


@dataclass(frozen=True)
class Found:
    """A stage of a build.

    Attributes:
        build: name of its folder.
        stage: what was done.
        peak: bytes resident.
        own: bytes of them that are no pages of files.
        seconds: it took.
        planned: bytes that ``make plan`` predicts; 0 where it was not asked.
    """

    build: str
    stage: str
    peak: int
    own: int
    seconds: float
    planned: float = 0.0


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge_memory", description=__doc__)
    parser.add_argument("--old", type=Path, help="an older build of ours, to stand beside")
    parser.add_argument("--shape", choices=random_model.SHAPES, default="llama-half")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(words)


def write_adapter(base: Path, folder: Path) -> None:
    """An adapter on every linear layer of a Llama, random and small, without loading the base."""
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    from tools.stages.merging import weights

    torch.manual_seed(0)
    shapes = {
        one.name.removesuffix(".weight"): one.shape
        for one in weights.read(base).values()
        if "_proj." in one.name
    }
    tensors = {}
    for name, (rows, columns) in shapes.items():
        stem = f"base_model.model.{name}"
        tensors[f"{stem}.lora_A.weight"] = torch.randn(RANK, columns) / columns**0.5
        tensors[f"{stem}.lora_B.weight"] = torch.randn(rows, RANK) * 0.02
    kinds = sorted({name.rpartition(".")[2] for name in shapes})
    config = LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=kinds,
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(base),
    )
    folder.mkdir()
    config.save_pretrained(folder)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def measure(build: Path, way: str, scratch: Path) -> Iterator[Found]:
    """Peaks of the stages of one build, in order.

    Args:
        build: the folder of its code.
        way: of training, a key of ``WAYS``.
        scratch: has the base and the adapter; gets the runs.

    Raises:
        SystemExit: a stage failed; its last lines are printed.
    """
    own = scratch / f"{build.parent.name}-{build.name}-{way}"
    own.mkdir()
    recipe = own / "own.yaml"
    recipe.write_text(RECIPE.format(base=scratch / "base", way=WAYS[way]), encoding="utf-8")
    _do(build, own, "-m", "tools", "data", *_which(own))
    _do(build, own, "-c", ADOPT, str(recipe), str(own / "runs"), str(scratch / "adapter"))
    stages = {"merge": "none", **{f"quantize {name}": name for name in FORMATS}}
    for stage, form in stages.items():
        ended = _do(
            build, own, "-m", "tools", stage.split()[0], *_which(own), "--set",
            f"quantize.format={form} {_without_gates(build)}",
        )  # fmt: skip
        planned = _planned(recipe, stage, form) if build == ROOT else 0.0
        say(
            f"  {build.name}: {way}, {stage}: {ended.peak / 1e9:.2f} GB, {ended.own / 1e9:.2f} of "
            f"its own, {ended.seconds:.0f} s"
        )
        name = f"{way}, {stage}"
        yield Found(build.name, name, ended.peak, ended.own, ended.seconds, planned)


def _without_gates(build: Path) -> str:
    """Random weights are no better for being close; an older build has fewer limits."""
    known = (build / "recipes" / "base.yaml").read_text(encoding="utf-8")
    limits = {"max_kl": 1000, "min_top1": 0}
    return " ".join(f"quantize.{key}={value}" for key, value in limits.items() if key in known)


def _which(own: Path) -> tuple[str, ...]:
    return "--recipe", str(own / "own.yaml"), "--runs", str(own / "runs")


def _do(build: Path, own: Path, *words: str) -> peak.Ended:
    command = [sys.executable, *words]
    ended = peak.run(command, own / "log", build, PYTHONPATH=str(build))
    if ended.code:
        sys.exit(f"{build}: {' '.join(words[:3])}: {ended.output[-2000:]}")
    return ended


def _planned(recipe: Path, stage: str, form: str) -> float:
    from tools.plan import job
    from tools.plan.disk import merge_memory, quantize_memory
    from tools.recipe.load import load

    asked = load(recipe, [f"quantize.format={form}"]).recipe
    count = merge_memory if stage == "merge" else quantize_memory
    return count(job.job(asked), asked)


def table(found: Sequence[Found], old: Sequence[Found]) -> str:
    """Both builds beside one another, a line a stage."""
    before = {one.stage: one for one in old}
    lines = []
    for one in found:
        other = before.get(one.stage)
        ratio = one.peak / other.peak if other else None
        lines.append(
            [
                one.stage,
                f"{other.peak / 1e9:.2f}" if other else "-",
                f"{one.peak / 1e9:.2f}",
                f"{ratio:.2f}" if ratio else "-",
                "" if ratio is None else "met" if ratio <= MOST else "NOT MET",
                f"{other.own / 1e9:.2f}" if other else "-",
                f"{one.own / 1e9:.2f}",
                f"{one.own / other.own:.2f}" if other else "-",
                f"{one.planned / 1e9:.2f}",
                f"{one.seconds:.0f}",
            ]
        )
    heads = ["stage", "old, GB", "peak, GB", "ratio", f"<= {MOST:g}", "old, own", "own, GB",
             "ratio", "planned, GB", "seconds"]  # fmt: skip
    return tabulate(lines, heads, tablefmt="github", disable_numparse=True)


def as_json(found: Sequence[Found]) -> list[dict[str, Any]]:
    """All figures."""
    return [vars(one) for one in found]


def main(words: Sequence[str] = sys.argv[1:]) -> int:
    """Measures; exit code 1 where the older build's peaks are there and the goal is not met."""
    options = parse_arguments(words)
    found: list[Found] = []
    old: list[Found] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; making the model")
        count = random_model.make(scratch / "base", options.shape)
        write_adapter(scratch / "base", scratch / "adapter")
        say(f"{count / 1e6:.0f} M weights, {2 * count / 1e9:.2f} GB in bf16")
        for way in WAYS:
            found += measure(ROOT, way, scratch)
            old += measure(options.old.resolve(), way, scratch) if options.old else []
    say(table(found, old))
    if options.json:
        options.json.write_text(json.dumps(as_json([*found, *old]), indent=1), encoding="utf-8")
    before = {one.stage: one.peak for one in old}
    return int(any(one.peak > MOST * before.get(one.stage, one.peak * 2) for one in found))


if __name__ == "__main__":
    sys.exit(main())
