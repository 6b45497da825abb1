"""Training as it is watched: every event on the disk, a live view on a terminal, lines elsewhere.

The events file is append-only, one JSON object a line. What is shown is a pure function of the
events seen so far, so ``make clock``, which reads the file, tells what the live view tells.
"""

import dataclasses
import datetime
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.console import duration
from tools.day.clock import Allowance
from tools.run.folder import Run

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

Event = dict[str, Any]
EVENTS = Path("logs", "train.events.jsonl")  # in the run folder
WINDOW = 100  # newest steps that the speed is taken over
LINE_SECONDS = 10.0  # between two lines where there is no terminal
TOKENS = "tokens/train_per_sec_per_gpu"  # Axolotl's name, tokens that are learnt only
_OPEN = '{"event": "open"'  # how the line of a new attempt begins
_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the events of one attempt say.

    Attributes:
        step: optimizer steps made.
        total: steps planned; 0 until the trainer told.
        losses: every training loss that was logged.
        held_out: newest loss on the validation rows.
        learning_rate: newest.
        tokens: trained tokens a second on one card, newest.
        gaps: seconds between one step's end and the next one's, the newest ``WINDOW`` of them.
        last: ``time.monotonic()`` of the newest step of this attempt.
        saved: step of the newest checkpoint of this attempt.
        reason: why training stopped before its last step, empty when it did not.
        ended: whether the trainer told of a regular end.
    """

    step: int = 0
    total: int = 0
    losses: tuple[float, ...] = ()
    held_out: float | None = None
    learning_rate: float | None = None
    tokens: float | None = None
    gaps: tuple[float, ...] = ()
    last: float | None = None
    saved: int | None = None
    reason: str = ""
    ended: bool = False

    @property
    def loss(self) -> float | None:
        """The newest training loss."""
        return self.losses[-1] if self.losses else None

    @property
    def step_seconds(self) -> float | None:
        """Median seconds a step: an evaluation or a save between two steps does not move it."""
        return statistics.median(self.gaps) if self.gaps else None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds from the newest step to the last one, evaluations and saves included."""
        return (self.total - self.step) * statistics.fmean(self.gaps) if self.gaps else None


def after(seen: Progress, event: Event) -> Progress:
    """``seen`` and one event more, stamped with ``monotonic``; an unknown event changes nothing."""
    match event:
        case {"event": "begin", "step": step, "total": total}:
            return Progress(step=step, total=total)
        case {"event": "step", "step": step, "monotonic": now}:
            gap = () if seen.last is None else (now - seen.last,)
            gaps = (*seen.gaps, *gap)[-WINDOW:]
            return dataclasses.replace(seen, step=step, last=now, gaps=gaps)
        case {"event": "log"}:
            return _logged(seen, event)
        case {"event": "save", "step": step}:
            return dataclasses.replace(seen, saved=step)
        case {"event": "stop", "step": step, "reason": reason}:
            return dataclasses.replace(seen, step=step, reason=reason)
        case {"event": "end", "step": step}:
            return dataclasses.replace(seen, step=step, ended=True)
    return seen


def _logged(seen: Progress, event: Event) -> Progress:
    loss = event.get("loss")
    return dataclasses.replace(
        seen,
        losses=seen.losses if loss is None else (*seen.losses, loss),
        held_out=event.get("eval_loss", seen.held_out),
        learning_rate=event.get("learning_rate", seen.learning_rate),
        tokens=event.get(TOKENS, seen.tokens),
    )


def progress(path: Path) -> Progress | None:
    """What the newest attempt in an events file says, None when no step was planned in it yet.

    Args:
        path: ``EVENTS`` of a run folder; it need not exist.
    """
    seen = Progress()
    for event in _newest(path):
        seen = after(seen, event)
    return seen if seen.total else None


def _newest(path: Path) -> Iterator[Event]:
    """The events of the newest attempt; lines that a crash tore are passed over."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text[max(text.rfind(_OPEN), 0) :].splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


class View:
    """Shows one attempt and writes its events down.

    Args:
        run: its logs folder gets the events file.
        allowance: of the training stage.
    """

    def __init__(self, run: Run, allowance: Allowance) -> None:
        self.progress = Progress()
        self._name, self._allowance, self._due = run.recipe.name, allowance, 0.0
        self._file = run.logs / EVENTS.name
        _end_torn_line(self._file)
        self._write({"event": "open"})
        self._live = self._start() if _terminal() else None

    @property
    def step(self) -> int:
        """Optimizer steps made."""
        return self.progress.step

    @property
    def total(self) -> int:
        """Steps planned."""
        return self.progress.total

    @property
    def ended(self) -> bool:
        """Whether the trainer told of a regular end, be it one by the clock."""
        return self.progress.ended

    @property
    def reason(self) -> str:
        """Why training stopped early; empty when all steps were made."""
        return self.progress.reason

    def see(self, event: Event) -> None:
        """Take in one event of the trainer's."""
        stamped = self._write(event)
        self.progress = after(self.progress, stamped)
        if self._live is None:
            self._print(at_once=event["event"] in ("begin", "end"))  # or a short run says nothing

    def close(self) -> None:
        """Leave the last view standing."""
        if self._live is not None:
            self._live.stop()

    def _write(self, event: Event) -> Event:
        """Append one event; without its log, on a full disk, training still goes on."""
        # The event stays the first key: _OPEN is looked for as text.
        stamped = {**event, "wall": _now(), "monotonic": time.monotonic()}
        line = json.dumps({key: _finite(value) for key, value in stamped.items()}) + "\n"
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            _end_torn_line(self._file)
        return stamped

    def _left(self) -> float:
        return self._allowance.limit - self._allowance.elapsed()

    def _print(self, at_once: bool) -> None:
        if at_once or time.monotonic() >= self._due:
            print(line(self.progress, self._left()), file=sys.stderr, flush=True)
            self._due = time.monotonic() + LINE_SECONDS

    def _start(self) -> "Live":
        from rich.console import Console  # here: without a terminal rich is never loaded
        from rich.live import Live

        live = Live(
            get_renderable=lambda: panel(self.progress, self._left(), self._name),
            console=Console(stderr=True),
            redirect_stdout=sys.stdout.isatty(),  # a file that stdout goes to keeps its lines
        )
        live.start()
        return live


def _terminal() -> bool:
    """Whether stderr can redraw a view and show the curve's characters."""
    encoding = (sys.stderr.encoding or "").lower()
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and encoding.startswith("utf")


def _end_torn_line(file: Path) -> None:
    """Keep what a crash or a full disk tore apart from the line that comes next."""
    try:
        with file.open("ab+") as text:
            if text.tell():
                text.seek(-1, os.SEEK_END)
                if text.read(1) != b"\n":
                    text.write(b"\n")
    except OSError:
        pass  # a full disk; readers pass over what they cannot read


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def panel(seen: Progress, left: float, name: str) -> "RenderableType":
    """The live view.

    Args:
        seen: what is known.
        left: seconds that training may still use.
        name: of the run.
    """
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 2))
    rows.add_row("step", ProgressBar(max(seen.total, 1), seen.step, pulse=not seen.total, width=40))
    for label, text in _rows(seen, left):
        rows.add_row(label, Text(text))
    return Panel(rows, title=Text(f"train: {name}"), title_align="left")


def _rows(seen: Progress, left: float) -> Iterator[tuple[str, str]]:
    """Label and text of what the view tells under its bar."""
    yield "", f"{seen.step} of {seen.total or '?'}"
    yield "loss", _number(seen.loss, ".3f") + "  " + sparkline(seen.losses)
    yield "held-out loss", _number(seen.held_out, ".3f")
    yield "learning rate", _number(seen.learning_rate, ".2e")
    tokens = f"{_number(seen.tokens, ',.0f')} trained tokens/s"
    yield "speed", f"{_number(seen.step_seconds, '.2f')} s a step, {tokens}"
    yield "checkpoint", "none yet" if seen.saved is None else f"step {seen.saved}"
    yield "ETA", "-" if seen.eta_seconds is None else duration(seen.eta_seconds)
    yield "budget left", duration(left)
    yield "then", outlook(seen, left)


def line(seen: Progress, left: float) -> str:
    """What is known in one line, for logs; arguments as for ``panel``."""
    known = (
        ("loss {:.3f}", seen.loss),
        ("held-out loss {:.3f}", seen.held_out),
        ("learning rate {:.2e}", seen.learning_rate),
        ("{:,.0f} trained tokens/s", seen.tokens),
        ("{:.2f} s a step", seen.step_seconds),
    )
    parts = [f"step {seen.step} of {seen.total or '?'}"]
    parts += [text.format(value) for text, value in known if value is not None]
    parts += [f"ETA {duration(seen.eta_seconds)}"] if seen.eta_seconds is not None else []
    return f"train: {', '.join(parts)}, budget left {duration(left)}"


def outlook(seen: Progress, left: float) -> str:
    """What will happen at the deadline, or has happened."""
    if seen.reason or seen.ended:
        return seen.reason or f"all {seen.total} steps were made"
    if not seen.total:
        return "loading the model and the data"
    if seen.eta_seconds is None:
        return "measuring the first steps"
    if seen.eta_seconds <= left:
        return f"all steps will be made, {duration(left - seen.eta_seconds)} before the deadline"
    reached = seen.step + int(max(left, 0.0) / statistics.fmean(seen.gaps))
    return f"the deadline ends training near step {reached}; merge and quantize keep their time"


def sparkline(values: tuple[float, ...], width: int = 30) -> str:
    """A curve in one line of text: at most ``width`` bars, each the mean of its share."""
    finite = [value for value in values if math.isfinite(value)]
    count = min(width, len(finite))
    edges = [len(finite) * i // count for i in range(count + 1)] if count else [0]
    means = [statistics.fmean(finite[a:b]) for a, b in itertools.pairwise(edges)]
    low, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    top = len(_BARS) - 1
    return "".join(_BARS[round((mean - low) / span * top) if span else 0] for mean in means)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
