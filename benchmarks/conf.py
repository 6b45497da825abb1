"""``python -m benchmarks.conf`` (``make bench-conf``): a HELM conf put to our worker and to others.

The same weights, the same HELM, the same conf and data; each server is a process of its own,
started alone. A server that answers one request at a time would take hours for the organizers'
file, so ``--every N`` asks every Nth of its entries.
"""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from benchmarks import machine
from benchmarks.memory import MIB
from benchmarks.serve import chosen
from benchmarks.servers import SERVERS, Server, Setup, Unavailable, running
from tools.console import say
from tools.errors import StageError, UserError
from tools.evaluate.helm.programs import OUTPUT, Asked, Helm, run_folders, venv
from tools.evaluate.stage import expand
from tools.files import read_json, write_json
from tools.questions import conf
from tools.questions.conf import Entry
from tools.questions.data import Data

#: The servers that speak the challenge's contract, which HELM asks.
SPEAKERS = ("ours", "2023", "hf-cb")

SAMPLED_EVERY = 0.5


@dataclasses.dataclass
class Result:
    """What became of one server.

    Attributes:
        minutes: that HELM took, from its start to its end.
        run_specs: how many were asked.
        failed: how many of them have no score.
        calls: requests to /process that HELM has an answer of.
        unanswered: requests that failed for good.
        peak_mib: largest resident memory of all the server's processes together.
        note: why it was not measured, or HELM's own words for what failed.
    """

    minutes: float = 0.0
    run_specs: int = 0
    failed: int = 0
    calls: int = 0
    unanswered: int = 0
    peak_mib: float = 0.0
    note: str = ""


class Peak:
    """The largest resident memory of a process and its descendants while the body runs, MiB."""

    mib = 0.0

    def __init__(self, root: int) -> None:
        self._root, self._done = root, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLED_EVERY):
            try:
                main = psutil.Process(self._root)
                all_of_them = [main, *main.children(recursive=True)]
                now = sum(process.memory_info().rss for process in all_of_them) / MIB
            except psutil.NoSuchProcess:
                continue
            self.mib = max(self.mib, now)


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conf", description=__doc__)
    parser.add_argument("--conf", type=Path, required=True, help="HELM's conf file")
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="HELM's data, as eval.data is laid out"
    )
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cpu.yaml"))
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="weights (default: the recipe's base model)"
    )
    parser.add_argument("--servers", default="ours,2023", help="default: %(default)s")
    parser.add_argument("--every", type=int, default=1, help="ask every Nth entry")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args(words)


def asked(options: argparse.Namespace, scratch: Path) -> tuple[Setup, Asked]:
    """The servers' settings, and what HELM is told."""
    from tools.base_model.folder import local_folder
    from tools.recipe.load import load

    recipe = load(options.recipe).recipe
    entries = [
        dataclasses.replace(entry, description=text)
        for entry in conf.read(options.conf)[:: options.every]
        for text in expand([entry.description], [])
    ]
    serve = dataclasses.replace(recipe.serve, adapters={})
    setup = Setup(options.model or local_folder(recipe.model), serve, scratch)
    asks = dataclasses.replace(recipe.eval, tier=str(options.conf), data=options.data)
    return setup, Asked(entries, asks, scratch)


def measure(server: Server, setup: Setup, told: Asked) -> Result:
    """Put the conf to one server."""
    folder = setup.scratch / server.name
    folder.mkdir()
    helm = Helm(venv(), folder, folder / "helm.log", setup.scratch / f"{server.name}.log")
    _link(told.entries, told.eval.data, folder / OUTPUT)
    result = Result()
    try:
        with running(server, setup, ()) as at, Peak(at.process.pid) as peak:
            began = time.monotonic()
            try:
                helm.ask(at.url, told)
            finally:
                result.minutes = (time.monotonic() - began) / 60
        result.peak_mib = peak.mib
    except (Unavailable, StageError) as error:
        result.note = str(error)
    _count(helm.runs, result)
    return result


def _link(entries: list[Entry], data: str, output: Path) -> None:
    found = Data([entry.description for entry in entries], data)
    found.fetch()
    found.link(output)


def _count(runs: Path, result: Result) -> None:
    """Run specs, calls and failures, from what HELM wrote."""
    for folder in run_folders(runs):
        result.run_specs += 1
        result.failed += not (folder / "stats.json").is_file()
        states = (read_json(folder / "scenario_state.json") or {}).get("request_states", [])
        answered = sum(bool((state.get("result") or {}).get("success")) for state in states)
        result.calls += answered
        result.unanswered += len(states) - answered


def table(results: dict[str, Result]) -> str:
    """A line a server, and how many times as long as ours it took."""
    ours = results.get("ours")
    rows = []
    for name, one in results.items():
        ratio = one.minutes / ours.minutes if ours and ours.minutes and not one.note else None
        rows.append(
            [
                name,
                one.run_specs,
                one.failed,
                one.calls,
                one.unanswered,
                round(one.minutes, 2),
                "-" if ratio is None else f"{ratio:.2f}",
                round(one.peak_mib),
            ]
        )
    heads = "server;run specs;failed;calls;unanswered;minutes;x ours;peak MiB".split(";")
    return tabulate(rows, heads, disable_numparse=True)


def report(options: argparse.Namespace) -> int:
    """Measures and prints the table; 1 when a run spec failed, else 0."""
    names = chosen(options.servers, SPEAKERS, "--servers")
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="oneday-conf-") as scratch:
        setup, told = asked(options, Path(scratch))
        say(f"bench: {len(told.entries)} entries of {options.conf}, {told.eval.threads} at once")
        for name in names:
            say(f"bench: {name}")
            results[name] = measure(SERVERS[name], setup, told)
            if results[name].note:
                say(f"bench: {name}: {results[name].note}")
    facts = machine.facts()
    say(f"{facts['cpu']}, {facts['cores']} cores; {json.dumps(facts['versions'])}\n")
    say(table(results))
    if options.json:
        _keep(options.json, facts, results)
    return int(any(one.note or one.failed for one in results.values()))


def _keep(path: Path, facts: dict[str, Any], results: dict[str, Result]) -> None:
    found = {name: dataclasses.asdict(one) for name, one in results.items()}
    write_json(path, {"machine": facts, "servers": found})


def main() -> int:
    """Runs the benchmark; the exit code."""
    options = parse_arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no server outlives us
    try:
        return report(options)
    except UserError as error:
        for fault in error.faults:
            print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
