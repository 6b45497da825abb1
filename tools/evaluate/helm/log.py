"""HELM's log: the only place where it says how far it is and why a run spec failed.

Each line begins with a time stamp. The run specs are all listed before the first begins, with their
bounds, so that how long the rest will take can be told from what was done.
"""

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.console import bar, say

_TOTAL = re.compile(r"entries produced (\d+) run specs")
_SPEC = re.compile(
    r"RunSpec\(name='(?P<name>[^']+)'.*?max_eval_instances=(?P<questions>\d+)"
    r".*?max_tokens=(?P<tokens>\d+)"
)
_RUNNING = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) +INFO +Running (\S+) \{$")
_FAILED = re.compile(r"Error when running (\S+):\n(.*?)\n(?=\d{4}-\d\d-\d\d )", re.DOTALL)

# A prompt of about a thousand tokens costs as much as this many new ones.
PROMPT_TOKENS = 32
FORECAST_AFTER = 5  # run specs done; fewer say little


@dataclass(frozen=True)
class Spec:
    """A run spec that HELM has announced.

    Attributes:
        name: as its folder is called.
        questions: at most.
        tokens: new ones a question, at most.
    """

    name: str
    questions: int
    tokens: int

    @property
    def weight(self) -> float:
        """What it costs beside others, in new tokens."""
        return self.questions * (PROMPT_TOKENS + self.tokens)


class Log:
    """What HELM wrote from now on, read as it comes.

    Args:
        path: the log, which may hold earlier attempts.

    Attributes:
        total: number of run specs, 0 until HELM has said it.
        specs: by name, the run specs that it has listed.
        started: those that it has begun, in order, with the time.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._file = path.open(encoding="utf-8", errors="replace")
        self._file.seek(0, os.SEEK_END)
        self._from = self._file.tell()
        self._rest = ""
        self.total = 0
        self.specs: dict[str, Spec] = {}
        self.started: dict[str, datetime.datetime] = {}

    def read(self) -> bool:
        """Read on; whether there was anything new."""
        # The last piece may be half a line, so it waits for the rest.
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        for line in lines:
            self._line(line)
        return bool(lines)

    def _line(self, line: str) -> None:
        if found := _RUNNING.match(line):
            moment = datetime.datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S,%f")
            self.started.setdefault(found[2], moment)
        elif found := _SPEC.search(line):
            spec = Spec(found["name"], int(found["questions"]), int(found["tokens"]))
            self.specs[spec.name] = spec
        elif found := _TOTAL.search(line):
            self.total = int(found[1])

    def spent(self) -> dict[str, float]:
        """Seconds of each run spec that another one has followed."""
        names, moments = list(self.started), list(self.started.values())
        pairs = zip(names, moments, moments[1:], strict=False)  # the last one goes on
        return {name: (end - start).total_seconds() for name, start, end in pairs}

    def text(self) -> str:
        """All that was written since."""
        with self._path.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._from)
            return file.read()

    def close(self) -> None:
        """Read the rest."""
        self.read()
        self._file.close()


def failures(text: str) -> dict[str, str]:
    """The traceback of each failed run spec, by its name."""
    return dict(_FAILED.findall(text))


def forecast(specs: dict[str, Spec], spent: dict[str, float], known: set[str]) -> float | None:
    """How long all run specs will have taken.

    A run spec to come takes as long for its weight as those of the same scenario did, or as all
    did where none of it is done.

    Args:
        specs: those that HELM has listed.
        spent: seconds of those that are done.
        known: names of those that an earlier attempt has done, which cost nothing.

    Returns:
        Seconds from the first one's start, or None as long as too few are done.
    """
    done = {name: seconds for name, seconds in spent.items() if name in specs.keys() - known}
    # A small tier, or the rest of one, has fewer in all.
    if len(done) < min(FORECAST_AFTER, len(specs) - len(known)) or not done:
        return None
    coming = [spec for name, spec in specs.items() if name not in done and name not in known]
    everything = _rate(specs, done)
    rates = {kind: _rate(specs, done, kind) for kind in {_kind(spec.name) for spec in coming}}
    rest = sum(spec.weight * (rates[_kind(spec.name)] or everything or 0.0) for spec in coming)
    return sum(done.values()) + rest


def _rate(specs: dict[str, Spec], done: dict[str, float], kind: str = "") -> float | None:
    """Seconds by weight over what is done, of one scenario or of all."""
    names = [name for name in done if kind in ("", _kind(name))]
    weight = sum(specs[name].weight for name in names)
    return sum(done[name] for name in names) / weight if weight else None


def _kind(name: str) -> str:
    return name.partition(":")[0]


class Progress:
    """One bar over HELM's run specs, with a forecast as soon as there can be one.

    Args:
        log: HELM's.
        known: run specs that an earlier attempt has done.
        limit_minutes: what the whole should stay below.
    """

    def __init__(self, log: Log, known: set[str], limit_minutes: float) -> None:
        self._log, self._known, self._limit = log, known, limit_minutes
        self._bar: Any = None  # until HELM has said how many
        self._told = self._warned = False
        self._minutes: float | None = None

    def update(self) -> None:
        """Read on and redraw: the last run spec named is the one at work."""
        if not self._log.read() or not (self._log.total and self._log.started):
            return
        self._bar = self._bar or bar(self._log.total, "eval", " run specs")
        self._forecast()
        about = "" if self._minutes is None else f", {self._minutes:.0f} min in all"
        last = list(self._log.started)[-1]
        self._bar.set_postfix_str(f"{plain(last)}{about}", refresh=False)
        self._bar.update(len(self._log.started) - 1 - self._bar.n)

    def _forecast(self) -> None:
        seconds = forecast(self._log.specs, self._log.spent(), self._known)
        if seconds is None:
            return
        self._minutes = seconds / 60
        count = f"{len(self._log.started) - 1} of {self._log.total} run specs"
        if self._minutes > self._limit and not self._warned:
            say(
                f"eval: about {self._minutes:.0f} min in all, going by {count}: more than the "
                f"{self._limit:g} min of eval.limit_minutes, the challenge's bound for its public "
                "conf; it goes on"
            )
            self._warned = True
        elif not self._told and not self._warned:
            say(
                f"eval: about {_minutes(self._minutes)} in all, going by {count}; the limit is "
                f"{self._limit:g} min"
            )
        self._told = True

    def close(self) -> None:
        """Read the rest and draw the end."""
        self.update()
        if self._bar is not None:
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update(len(self._log.started) - self._bar.n)
            self._bar.close()
        self._log.close()


def _minutes(minutes: float) -> str:
    return f"{minutes * 60:.0f} s" if minutes < 2 else f"{minutes:.0f} min"


def plain(name: str) -> str:
    """A run spec's name without the model, which is always ours."""
    return re.sub(r"[:,]model=[^,]*", "", name)
