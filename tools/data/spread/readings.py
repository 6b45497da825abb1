"""The sources' files, read by the tasks of an executor, each file or part of one by itself."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from tools.data.origins import Origin, opened
from tools.data.shapes import chats
from tools.data.shapes.base import How
from tools.data.sources import Limits, Reading, Taken, read_part
from tools.data.spread.executor import Datatrove
from tools.errors import UserError
from tools.recipe.schema import Source

PART = 2**20  # bytes; a smaller file is not cut


def taken(
    sources: Mapping[str, Source], limits: Mapping[str, Limits], executor: Datatrove
) -> dict[str, Taken]:
    """Read all files of all sources.

    Args:
        sources: by name; makers are left out, for each question follows from the one before, and
            turns in a chat template, whose code is no other process's.
        limits: by source.
        executor: whose tasks read.

    Returns:
        By source what was read, to be taken in the order of the sources. One that cannot be opened
        is not there, nor are those behind it: who reads it himself meets the fault in its turn.
    """
    found: dict[str, tuple[list[Origin], How]] = {}
    for name, source in sources.items():
        if source.kind != "generator" and not chats.is_chat(source):
            try:
                origins, how = opened(name, source, limits[name].seed)
            except UserError:
                break
            found[name] = list(origins), how
    size = _part(found, executor.tasks)
    jobs: list[Reading] = []
    counts = {}
    executor.folder.mkdir(parents=True, exist_ok=True)
    for name, (origins, how) in found.items():
        before = len(jobs)
        for index, origin in enumerate(origins):
            # A path through a tree may be of messages from all over the file.
            parts = origin.cut(size) if how.shape != "tree" else [origin]
            for one in parts:
                path = executor.folder / f"part-{len(jobs):05}.rows"
                weight = origin.size // len(parts) or size
                jobs.append(
                    Reading(name, sources[name], limits[name], how, index, one, weight, path)
                )
        counts[name] = len(jobs) - before
    results = executor(read_part, jobs)
    made: dict[str, Taken] = {}
    for name, (origins, how) in found.items():
        path = _whole(executor.folder, len(made))
        made[name] = Taken(origins, how, islice(results, counts[name]), path)
    return made


def _part(found: Mapping[str, tuple[list[Origin], How]], tasks: int) -> int:
    """Bytes of a part so that every task has one."""
    total = sum(origin.size for origins, _ in found.values() for origin in origins)
    return max(PART, -(-total // tasks))


def _whole(folder: Path, number: int) -> Path:
    return folder / f"source-{number:03}.rows"
