"""``python -m benchmarks.kept --old FOLDER --model FOLDER``: what is kept of prompts, and memory.

An older commit of this repository (``git worktree add --detach FOLDER 0397215``) and this one, each
an engine in a process of its own, are asked the same in turn; one table. The machine need not be
still, for what disturbs one side disturbs the other soon.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.kept_side import LOADS
from benchmarks.serve import chosen
from tools.console import environment, say
from tools.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


class Side:
    """A process with one of the two engines.

    Args:
        root: of its tree.
        options: the model and the like.
    """

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        script = Path(__file__).with_name("kept_side.py")
        words = [options.model.absolute(), options.threads, options.scale]
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=environment(PYTHONPATH=str(root), HF_HUB_OFFLINE="1"),
        )
        self.start = self._answer()

    def ask(self, load: str, seed: int) -> dict[str, Any]:
        """What one load took."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([load, seed]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"an engine ended with exit code {self._process.wait()}; see above")
        found: dict[str, Any] = json.loads(line)
        return found


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kept", description=__doc__)
    parser.add_argument("--old", type=Path, required=True, help="an older tree of ours")
    parser.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
    parser.add_argument("--loads", help=f"default: {','.join(LOADS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths, for tests")
    return parser.parse_args(words)


@contextlib.contextmanager
def both(options: argparse.Namespace) -> Iterator[tuple[Side, Side]]:
    """The older side and this one."""
    if not (options.old / "serve" / "engine").is_dir():
        raise UserError(f"--old: {options.old} is no tree of this repository")
    with contextlib.ExitStack() as stack:
        sides = []
        for root in (options.old.absolute(), ROOT):
            sides.append(Side(root, options))
            stack.callback(sides[-1].close)
        yield sides[0], sides[1]


def line(load: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Medians of a load; the ratio is the median of those in turn."""
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    ratio = statistics.median(old["seconds"] / new["seconds"] for old, new in pairs)
    same = sum(a == b for old, new in pairs for a, b in _answers(old, new))
    return [
        load,
        *(f"{statistics.median(one['seconds'] for one in side):.2f}" for side in (first, second)),
        f"{ratio:.2f}",
        *(f"{_reused(side):.0%}" for side in (first, second)),
        *(f"{max(one['peak'] for one in side):.0f}" for side in (first, second)),
        f"{same} of {sum(len(old['answers']) for old, _ in pairs)}",
    ]


def _answers(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[list[int], list[int]]]:
    return zip(old["answers"], new["answers"], strict=True)


def _reused(side: list[dict[str, Any]]) -> float:
    return sum(one["reused_tokens"] for one in side) / sum(one["prompt_tokens"] for one in side)


def report(options: argparse.Namespace) -> None:
    """Measures and prints."""
    loads = chosen(options.loads, list(LOADS), "--loads")
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {load: [] for load in loads}
    with both(options) as (old, new):
        say(f"bench: loaded, MiB: {old.start['now']:.0f} old, {new.start['now']:.0f} new")
        for seed in range(options.repeats):
            for load in loads:
                pair = old.ask(load, seed), new.ask(load, seed)
                found[load].append(pair)
                say(f"bench: {load} {seed + 1}: {pair[0]['seconds']:.2f} s old,"
                    f" {pair[1]['seconds']:.2f} s new")  # fmt: skip
    heads = "load;old, s;new, s;old / new;reused, old;reused, new;peak MiB, old;peak, new;same ids"
    rows = [line(load, pairs) for load, pairs in found.items()]
    say("\n" + tabulate(rows, heads.split(";"), disable_numparse=True))


def main() -> int:
    """Runs the benchmark; the exit code."""
    try:
        report(parse_arguments(sys.argv[1:]))
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
