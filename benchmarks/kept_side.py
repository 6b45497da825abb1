"""One side of ``benchmarks.kept``: the engine of the tree on PYTHONPATH, asked line by line.

stdin gives ``[load, seed]``, stdout what it took; no HTTP, so that the engine alone is timed.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from serve.config import ServeConfig
from serve.engine import build_engine
from serve.engine.base import Engine, GenRequest

Asked = list[tuple[tuple[int, ...], int]]  # prompts and how many new tokens each asks for


class Writer:
    """Prompts of random ids.

    Args:
        seed: the same one writes the same.
        vocabulary: ids are below it.
        scale: of all lengths; 1 but for tests.
    """

    def __init__(self, seed: str, vocabulary: int, scale: float) -> None:
        self._random, self._vocabulary, self._scale = Random(seed), vocabulary, scale

    def size(self, low: int, high: int) -> int:
        """A length."""
        return max(1, int(self._random.randint(low, high) * self._scale))

    def ids(self, low: int, high: int) -> tuple[int, ...]:
        """So many ids."""
        span = range(self.size(low, high))
        return tuple(self._random.randrange(5, self._vocabulary) for _ in span)

    def stories(self, count: int) -> Asked:
        """128 tokens in, 64 out."""
        return [(self.ids(128, 128), self.size(64, 64)) for _ in range(count)]

    def shared(self, count: int) -> Asked:
        """One head of 500 tokens, one token out."""
        head = self.ids(500, 500)
        return [(head + self.ids(30, 60), 1) for _ in range(count)]

    def runs(self, count: int) -> Asked:
        """As HELM asks: run specs one after another, 13 questions with a head of their own each."""
        made: Asked = []
        for _ in range(count):
            head, new = self.ids(100, 1400), self._random.choice([1, 1, 5, 30, 100])
            made += [(head + self.ids(30, 200), new) for _ in range(13)]
        return made


#: By name: clients and what they ask. ``again`` has the prompts of ``shared``.
LOADS: dict[str, tuple[int, Callable[[Writer], Asked]]] = {
    "c1": (1, lambda writer: writer.stories(2)),
    "c16": (16, lambda writer: writer.stories(32)),
    "shared": (30, lambda writer: writer.shared(60)),
    "again": (30, lambda writer: writer.shared(60)),
    "runs": (30, lambda writer: writer.runs(10)),
}


def memory() -> dict[str, float]:
    """Resident now and at most, MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    return {"now": int(found["VmRSS"]) / 1024, "peak": int(found["VmHWM"]) / 1024}


def ask(engine: Engine, asked: Asked, clients: int, name: str) -> list[list[int]]:
    """All questions by so many clients, each of whom waits for its answer; the new ids."""

    def one(place: int) -> list[int]:
        prompt, new = asked[place]
        request = GenRequest(f"{name}-{place}", prompt, max_new_tokens=new, ignore_eos=True)
        return [token.id for token in engine.submit(request).result().tokens]

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, range(len(asked))))


def measure(engine: Engine, load: str, writer: Writer, name: str) -> dict[str, Any]:
    """Seconds, the engine's counters meanwhile, memory and the answers."""
    clients, write = LOADS[load]
    asked = write(writer)
    before, begun = asdict(engine.stats()), time.perf_counter()
    answers = ask(engine, asked, clients, name)
    seconds, after = time.perf_counter() - begun, asdict(engine.stats())
    counted = {key: after[key] - before[key] for key in ("steps", "prompt_tokens", "reused_tokens")}
    return {"seconds": seconds, "answers": answers, **counted, **memory()}


def main(words: Sequence[str]) -> None:
    """Answers until stdin ends."""
    model, threads, scale = words
    vocabulary = json.loads(Path(model, "config.json").read_text(encoding="utf-8"))["vocab_size"]
    engine = build_engine(Path(model), ServeConfig(threads=int(threads)), "cpu")
    print(json.dumps(memory()), flush=True)
    for line in sys.stdin:
        load, seed = json.loads(line)
        kind = "shared" if load == "again" else load
        writer = Writer(f"{kind}-{seed}", vocabulary, float(scale))
        print(json.dumps(measure(engine, load, writer, f"{load}-{seed}")), flush=True)
    engine.close()


if __name__ == "__main__":
    main(sys.argv[1:])
