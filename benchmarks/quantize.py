"""``python -m benchmarks.quantize`` (``make bench-quantize``): every format of a run, one table.

The run's merged model is put into each format of ``tools.recipe.formats`` by the verbs that users
call, each in a process of its own, and asked: perplexity, mean KL and top-1 agreement beside the
merged model on held-out rows, tokens a second of the worker, and who loads it. What needs a card
is taken as far as it goes here, and its line says where it ended. The run itself is left as it is:
all is done in a folder beside it, whose weights are the run's own, linked.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks import quantize_formed as formed
from benchmarks.machine import facts
from benchmarks.quantize_formed import Bench, Line
from benchmarks.quantize_table import caption, table
from tools.console import say
from tools.errors import UserError
from tools.files import write_json
from tools.recipe import formats
from tools.recipe.faults import nearest
from tools.recipe.load import load
from tools.recipe.schema import QuantFormat
from tools.report.finished import runs_of
from tools.run.folder import Run

CAST = ("fp32", "bf16")  # the merged model itself, in these numbers


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize", description=__doc__)
    parser.add_argument("--hw", default="cpu", help="recipes/HW.yaml (default: cpu)")
    parser.add_argument("--set", action="append", default=[], help="as for make, SET=")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders live")
    parser.add_argument("--run", default="", metavar="FOLDER", help="a run folder, not a recipe")
    parser.add_argument("--formats", default="", help="by commas (default: all)")
    parser.add_argument("--score", action="store_true", help="HELM's quick tier, too: minutes each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(words)


def known() -> list[str]:
    """All formats, in the table's order: those of the one table that this build has."""
    here = set(get_args(QuantFormat))
    served = [name for name in formats.SERVED if name in here and name != "none"]
    return [*CAST, *served, *formats.GGUF]


def chosen(asked: str) -> list[str]:
    """The formats of ``--formats``.

    Raises:
        UserError: one that is none.
    """
    names = asked.split(",") if asked else known()
    if wrong := [name for name in names if name not in known()]:
        raise UserError(
            f"--formats: no {name}{nearest(name, known())}; known: {', '.join(known())}"
            for name in wrong
        )
    return names


def finished(options: argparse.Namespace) -> Run:
    """The run, its merged model made where it is missing.

    Raises:
        UserError: no such run folder, no merged model in one that was named, or none to be made.
    """
    if options.run:
        run = runs_of({"RUN": options.run}, options.runs)["RUN"]
        if not (run.output("merge") / "config.json").is_file():
            raise UserError(f"RUN={options.run}: no merged model there; first: make merge")
        return run
    run = Run(load(Path("recipes") / f"{options.hw}.yaml", options.set).recipe, options.runs)
    if not run.done("merge"):
        words = [word for one in options.set for word in ("--set", one)]
        command = [sys.executable, "-m", "tools", "merge", "--hw", options.hw]
        if subprocess.run([*command, "--runs", str(options.runs), *words]).returncode:
            raise UserError("there is no merged model, and make merge failed: see above")
    return run


def measure(bench: Bench, names: Sequence[str], score: bool) -> list[Line]:
    """A line a format, the merged model first."""
    lines = [formed.merged(bench)]
    for name in names:
        say(f"bench: {name}")
        if name in CAST:
            line = formed.cast(bench, name)
        elif name in formats.GGUF:
            line = formed.gguf(bench, name)
        else:
            line = formed.quantized(bench, name, score)
        say(f"bench: {json.dumps(dataclasses.asdict(line))}")
        lines.append(line)
    lines[0].score = bench.score
    return lines


def main(words: Sequence[str] = sys.argv[1:]) -> int:
    """Runs the benchmark; the exit code."""
    options = parse_arguments(words)
    try:
        names, run = chosen(options.formats), finished(options)
        # On the run's own disk, or its weights could not be linked.
        with tempfile.TemporaryDirectory(prefix=".bench-quantize-", dir=run.path.parent) as name:
            bench = formed.prepare(run, Path(name))
            before = os.getloadavg()[0]
            lines = measure(bench, names, options.score)
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    say("\n" + table(lines) + "\n")
    about: dict[str, Any] = facts(run.recipe.hardware.device)
    say(caption(run, lines, about | {"load_average": round(before, 2)}))
    if options.json:
        found = [dataclasses.asdict(line) for line in lines]
        write_json(options.json, {"machine": about, "formats": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
