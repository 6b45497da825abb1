"""``python -m benchmarks.clock`` (``make bench-clock``): what the clock costs a step.

``axolotl train`` and ours, alternating, on the very same ``axolotl.yaml``: seconds a step as the
trainer itself reports them (evaluations and checkpoints included), and their ratio. Each is a fresh
run, so the adapters' hashes are compared on the way: ours must be the same every time.
"""

import argparse
import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from benchmarks import machine
from tools import axolotl, base_model
from tools.console import environment, say
from tools.data import tokens
from tools.data.prepare import prepare
from tools.day.clock import Allowance
from tools.errors import StageError
from tools.files import file_digest
from tools.recipe.load import load
from tools.recipe.schema import Recipe
from tools.run.folder import Run
from tools.stages.train import train

#: Ours over bare Axolotl's, at most; issue "The 24-hour clock".
GOAL = 1.02
ADAPTER = "adapter_model.safetensors"


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        seconds: of the trainer's loop, without start-up and end.
        adapter: SHA-256 of the weights.
    """

    seconds: float
    adapter: str


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clock", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cpu.yaml"))
    parser.add_argument("--set", action="append", default=[], help="as for make, SET=")
    parser.add_argument("--steps", type=int, default=30, help="of a training; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="of each; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="6 steps, twice each: does it run?")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(words)
    if args.quick:
        args.steps, args.repeats = 6, 2
    return args


def bare(config: Path, folder: Path) -> Trained:
    """``axolotl train`` on a file, as a user would call it, but for where its output goes."""
    command = [sys.executable, "-m", "axolotl.cli.main", "train", str(config)]
    options = ["--launcher", "python", "--output-dir", str(folder)]
    done = subprocess.run(
        [*command, *options],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StageError(f"axolotl train ended with code {done.returncode}:\n{done.stdout[-2000:]}")
    return Trained(loop_seconds(done.stdout), file_digest(folder / ADAPTER))


def ours(recipe: Recipe, name: str, root: Path) -> Trained:
    """The train verb in a fresh run folder, with the whole day before it."""
    run = Run(dataclasses.replace(recipe, name=name), root)
    with run.lock():
        prepare(run)
        train(run, Allowance(time.monotonic(), 0.0, 3600 * recipe.budget.hours))
    log = (run.logs / "train.log").read_text(encoding="utf-8", errors="replace")
    return Trained(loop_seconds(log), file_digest(run.output("train") / ADAPTER))


def loop_seconds(log: str) -> float:
    """What the trainer says its loop took.

    Raises:
        StageError: it said nothing.
    """
    found = re.findall(r"'train_runtime': '?([\d.eE+]+)", log)
    if not found:
        raise StageError("no train_runtime in Axolotl's log")
    return float(found[-1])


def rendered(recipe: Recipe, root: Path) -> Path:
    """The recipe's ``axolotl.yaml``, with the rows it names."""
    run = Run(dataclasses.replace(recipe, name="bare"), root)
    base = base_model.local_folder(recipe.model)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the model is here: nobody shall ask, either side
    with run.lock():
        prepare(run)
        tokens.files(run, base)
        return axolotl.render(run, base)


def ratio(theirs: Sequence[Trained], mine: Sequence[Trained]) -> float:
    """Median time of ours over that of bare Axolotl."""
    middle = [statistics.median(one.seconds for one in side) for side in (mine, theirs)]
    return middle[0] / middle[1]


def table(theirs: Sequence[Trained], mine: Sequence[Trained], steps: int) -> str:
    """Each pair of runs side by side, then the medians."""
    lines = [
        [i + 1, f"{a.seconds / steps:.4f}", f"{b.seconds / steps:.4f}",
         f"{b.seconds / a.seconds:.3f}", a.adapter[:12], b.adapter[:12]]
        for i, (a, b) in enumerate(zip(theirs, mine, strict=True))
    ]  # fmt: skip
    sides = (theirs, mine)
    middle = [f"{statistics.median(t.seconds for t in side) / steps:.4f}" for side in sides]
    found = ratio(theirs, mine)
    goal = f"<= {GOAL}: {'met' if found <= GOAL else 'NOT MET'}"
    lines.append(["median", *middle, f"{found:.3f}", goal, ""])
    head = ["run", "axolotl train, s/step", "ours, s/step", "ratio", "its adapter", "our adapter"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 when a goal is missed or two runs of ours differ."""
    args = parse_arguments(sys.argv[1:] if words is None else words)
    recipe = load(args.recipe, [*args.set, f"train.max_steps={args.steps}"]).recipe
    theirs, mine = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config = rendered(recipe, root)
        for i in range(args.repeats):
            theirs.append(bare(config, root / f"bare-{i}"))
            mine.append(ours(recipe, f"ours-{i}", root))
    equal = [len({one.adapter for one in side}) == 1 for side in (theirs, mine)]
    say(f"\n{args.recipe.name}, {args.steps} steps, {machine.facts()['cores']} cores\n")
    say(table(theirs, mine, args.steps))
    words_ = [f"{who}: {'the same' if same else 'different'} adapters" for who, same in
              zip(("axolotl train", "ours"), equal, strict=True)]  # fmt: skip
    say("\n" + "; ".join(words_))
    if args.json:
        figures = {"bare": theirs, "ours": mine}
        plain = {name: [dataclasses.asdict(t) for t in side] for name, side in figures.items()}
        args.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return 0 if equal[1] and ratio(theirs, mine) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
