"""``python -m benchmarks.soak`` (``make soak``): does the worker stay right, and of one size?

Starts the worker, has many clients ask it for everything at once (wrong bodies, clients that hang
up and over-long prompts among it), watches its memory, then stops it with requests in flight.
Exit code 0 when every answer was the expected one, memory stayed flat and no answer was lost.
"""

import argparse
import asyncio
import dataclasses
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import psutil
from tabulate import tabulate
from tokenizers import Tokenizer

from benchmarks.memory import MemoryWatch, levels, spread
from benchmarks.servers import SERVERS, Running, Setup, Unavailable, running
from benchmarks.soak_mix import MAX_BODY, Attempt, Mix
from tools.console import say
from tools.errors import UserError

#: Percent between the lowest and the highest level after warm-up that count as flat.
FLAT_PERCENT = 2.0

#: Seconds that an answer may take.
LIMIT_S = 300.0

#: Faults that are told in full.
TOLD = 20

#: What a client writes down when it hung up, or when it got no answer.
HUNG_UP, NO_ANSWER = -1, 0


@dataclasses.dataclass
class Tally:
    """What was answered.

    Attributes:
        answers: how many of each kind and status.
        faults: what should not have been, in words.
    """

    answers: Counter[tuple[str, int]] = dataclasses.field(default_factory=Counter)
    faults: list[str] = dataclasses.field(default_factory=list)

    def add(self, attempt: Attempt, status: int, fault: str) -> None:
        """Counts one answer; the first faults are told at once, not after half an hour."""
        self.answers[attempt.kind, status] += 1
        expected = {attempt.status} | ({HUNG_UP} if attempt.hang_up_s is not None else set())
        if status not in expected:
            fault = f"{attempt.path}: {status} {fault}"
        if fault:
            self.faults.append(f"{attempt.kind}: {fault}"[:300])
            if len(self.faults) <= TOLD:
                say(f"soak: unexpected: {self.faults[-1]}")


@dataclasses.dataclass
class Verdict:
    """One line of the report."""

    what: str
    found: str
    wanted: str
    holds: bool


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cpu.yaml"))
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="weights (default: the recipe's base model)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the requests drawn")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of lengths; below 1 for a tiny model"
    )
    return parser.parse_args(words)


async def send(session: aiohttp.ClientSession, attempt: Attempt) -> tuple[int, str]:
    """Sends one request; its status (or ``HUNG_UP``, ``NO_ANSWER``) and what is wrong."""
    try:
        async with asyncio.timeout(attempt.hang_up_s):
            return await _answered(session, attempt)
    except TimeoutError:
        if attempt.hang_up_s is None:
            return NO_ANSWER, f"nothing within {LIMIT_S:g} s"
        return HUNG_UP, ""
    except (aiohttp.ClientError, OSError) as error:
        return NO_ANSWER, f"{type(error).__name__} {error}"


async def _answered(session: aiohttp.ClientSession, attempt: Attempt) -> tuple[int, str]:
    method = "GET" if attempt.body is None else "POST"
    headers = {"Content-Type": "application/json"}
    async with session.request(
        method, attempt.path, data=attempt.body, headers=headers
    ) as response:
        content = await response.read()
        if response.status != attempt.status:
            return response.status, content[:200].decode(errors="replace")
        if response.status != 200 or attempt.check is None:
            return response.status, ""
        return response.status, attempt.check(await response.json())


def connect(url: str) -> aiohttp.ClientSession:
    """A session that opens a connection for each request, as HELM's client does."""
    return aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        timeout=aiohttp.ClientTimeout(total=LIMIT_S),
    )


async def load(url: str, mix: Mix, clients: int, seconds: float, watch: MemoryWatch) -> Tally:
    """Has the clients ask for so long; what came back."""
    tally, end = Tally(), time.monotonic() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            attempt = mix.draw()
            tally.add(attempt, *await send(session, attempt))

    background = [
        asyncio.create_task(watch.run(max(0.2, seconds / 600))),
        asyncio.create_task(_progress(tally, watch, seconds)),
    ]
    try:
        async with connect(url) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))
    finally:
        for task in background:
            task.cancel()
    return tally


async def _progress(tally: Tally, watch: MemoryWatch, seconds: float) -> None:
    start = time.monotonic()
    while True:
        await asyncio.sleep(max(10.0, seconds / 60))
        last = watch.readings[-1]
        say(
            f"soak: {(time.monotonic() - start) / 60:.1f} of {seconds / 60:.1f} min,"
            f" {tally.answers.total()} requests, {len(tally.faults)} unexpected,"
            f" {last.total / 2**20:.0f} MiB (worker {last.worker / 2**20:.0f})"
        )


async def idle_again(url: str) -> bool:
    """Whether nothing is in flight once all clients have gone, those that hung up included."""
    async with connect(url) as session:
        return await _flight(session, lambda count: count == 0, 20.0)


async def _flight(
    session: aiohttp.ClientSession, wanted: Callable[[float], bool], seconds: float
) -> bool:
    """Waits until the number of requests in flight is as wanted; whether it came to that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        async with session.get("/metrics") as response:
            if wanted(in_flight(await response.text())):
                return True
        await asyncio.sleep(0.05)
    return False


def in_flight(metrics: str) -> float:
    """Requests that the HTTP side or the engine is busy with, from the text of /metrics."""
    names = ("oneday_in_flight ", "oneday_running ", "oneday_waiting ")
    found = [float(line.split()[1]) for line in metrics.splitlines() if line.startswith(names)]
    return max(found)


async def drain(url: str, mix: Mix, clients: int, process: subprocess.Popen[bytes]) -> Tally:
    """Sends SIGTERM while requests are in flight; how they were answered."""
    tally = Tally()
    async with connect(url) as session:
        attempts = [mix.long_request() for _ in range(clients)]
        answers = [asyncio.create_task(send(session, attempt)) for attempt in attempts]
        await _flight(session, lambda count: count >= clients, 10.0)
        process.terminate()
        for attempt, answer in zip(attempts, answers, strict=True):
            tally.add(attempt, *await answer)
    return tally


def wait_gone(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those of the processes that are still there after so many seconds."""
    _, left = psutil.wait_procs(processes, timeout=seconds)
    return left


def memory_verdicts(watch: MemoryWatch) -> list[Verdict]:
    """Whether the memory of all processes, and of the worker alone, stayed flat."""
    found = []
    for name, worker in (("memory of all processes", False), ("memory of the worker", True)):
        sizes = levels(watch.readings, worker)
        apart = spread(sizes)
        words = f"{apart:.2f} % ({sizes[0]:.0f} MiB after warm-up, {sizes[-1]:.0f} at the end)"
        found.append(Verdict(name, words, f"<= {FLAT_PERCENT:g} %", apart <= FLAT_PERCENT))
    return found


def soak(at: Running, mix: Mix, options: argparse.Namespace) -> list[Verdict]:
    """The whole of it on a running worker."""
    watch = MemoryWatch(at.process.pid)
    tally = asyncio.run(load(at.url, mix, options.clients, options.minutes * 60, watch))
    idle = asyncio.run(idle_again(at.url))
    processes = watch.processes()
    last = asyncio.run(drain(at.url, mix, options.clients, at.process))
    left = wait_gone(processes, 30)
    code = at.process.poll()
    _say_counts(tally)
    answered = last.answers["long", 200]
    return [
        Verdict("requests", f"{tally.answers.total()}", "", True),
        Verdict("unexpected answers", f"{len(tally.faults)}", "0", not tally.faults),
        Verdict("in flight after the last client", "none" if idle else "some", "none", idle),
        *memory_verdicts(watch),
        Verdict("answers after SIGTERM", f"{answered} of {options.clients}", "all",
                answered == options.clients),
        Verdict("exit code", f"{code}", "0", code == 0),
        Verdict("processes left", f"{len(left)}", "0", not left),
    ]  # fmt: skip


def _say_counts(tally: Tally) -> None:
    names = {HUNG_UP: "hung up", NO_ANSWER: "no answer"}
    rows = [
        (kind, names.get(status, str(status)), count)
        for (kind, status), count in sorted(tally.answers.items())
    ]
    say("\n" + tabulate(rows, ("request", "answer", "count"), tablefmt="github") + "\n")


def make_setup(options: argparse.Namespace, scratch: Path) -> tuple[Setup, Mix]:
    """The worker as the recipe has it, but for a smaller ``max_body``; and what it is sent."""
    from tools.base_model.folder import local_folder
    from tools.recipe.load import load as load_recipe

    recipe = load_recipe(options.recipe).recipe
    model = options.model or local_folder(recipe.model)
    config = dataclasses.replace(recipe.serve, max_body=MAX_BODY)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    mix = Mix(tokenizer, options.seed, config.context, options.scale)
    return Setup(model, config, scratch), mix


def main() -> int:
    """Runs the soak; the exit code."""
    options = parse_arguments(sys.argv[1:])
    # A polite kill ends like Ctrl+C, so that no server outlives us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
            setup, mix = make_setup(options, Path(scratch))
            with running(SERVERS["ours"], setup, ()) as at:
                verdicts = soak(at, mix, options)
    except (UserError, Unavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    rows = [(v.what, v.found, v.wanted, "ok" if v.holds else "FAILED") for v in verdicts]
    say(tabulate(rows, ("", "found", "wanted", ""), tablefmt="github"))
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
