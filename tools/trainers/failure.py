"""Why a child ended, from the newest of its lines."""

import re
import signal
from collections.abc import Iterable

LINES = 12  # that are shown at most
# How torchrun begins what it says of its jobs, which is not why they failed.
_SUMMARY = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError"
_AGENT = re.compile(r"[WE]\d{4} .*torch/distributed/elastic/")
_RANK = re.compile(r"^\[rank\d+\]: ?")
_ENTRY = re.compile(r"rank +: (\d+) .*\n +exitcode +: (-?\d+)")
# What a job says whose neighbour is gone: gloo's words, and NCCL's.
_NEIGHBOUR = re.compile(r"closed by peer|reset by peer|remote process exited|DistBackendError")


def reason(told: Iterable[str]) -> str:
    """The last error among a child's lines, from its name on, without the way it came.

    Of several jobs one fails first, and the others because it is gone: theirs are passed over.

    Args:
        told: its newest lines.
    """
    # No progress bars, and what a job of several says without torch's "[rank0]: " before it.
    text = [_RANK.sub("", line) for line in told if not re.search(r"\d%\|", line)]
    starts = [i for i, line in enumerate(text) if line.startswith(_SUMMARY)]
    jobs = "".join(text[starts[-1] :]) if starts else ""
    if ended := _ended(jobs):
        return ended
    if jobs:  # of torchrun's own lines nothing is left, nor of what comes after the first
        text = text[: next((i for i, x in enumerate(text) if _AGENT.match(x)), starts[-1])]
    named = [i for i, line in enumerate(text) if re.match(r"[\w.]+(Error|Exception)\b", line)]
    own = [i for i in named if not _NEIGHBOUR.search(text[i])] if jobs else named
    first = (own or named or [-LINES])[-1]
    said = text[first:][:LINES]
    # torchrun's own way out of it may stand there before its summary.
    after = next((i for i, line in enumerate(said) if i and line.startswith("Traceback")), LINES)
    return "".join(said[:after] if named else said).rstrip()


def _ended(summary: str) -> str:
    """The job that a signal ended, as torchrun lists it; empty where none was."""
    for rank, code in _ENTRY.findall(summary):
        # Polite ones torchrun sends itself, to those that are left.
        if int(code) < 0 and int(code) != -signal.SIGTERM:
            name = signal.Signals(-int(code)).name
            why = ", as the system does where memory is short" if name == "SIGKILL" else ""
            return (
                f"job {int(rank) + 1} was ended by {name}{why}; checkpoints that were made are "
                "whole, and the same command goes on from them"
            )
    return ""
