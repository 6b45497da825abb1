"""The rows of one source, on the disk while they are sifted: a few numbers a row stay in memory.

What is kept of a row is the very JSON of its segments, so that writing it is copying it.
"""

import functools
import json
import os
import pickle
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring
from pathlib import Path
from typing import IO, Any

from xxhash import xxh3_128_digest

from tools.data.reading.fault import Fault
from tools.data.shapes.base import Made, Segment
from tools.data.skills import Question

_ASKED, _ANSWER = b'[{"label": false, "text": ', b'}, {"label": true, "text": '
_TEXT, _END = b'[{"label": true, "text": ', b"}]"
_BUFFER = 2**20  # bytes
_ESCAPED = bytes((*range(10), *range(11, 32), *b'"\\'))  # by JSON, beside line ends
KEY = 16  # bytes of a prompt's hash: two of 10^9 prompts meet by chance once in 10^20


class Rows:
    """Rows that were made of a source's records.

    Args:
        source: its name.
        folder: where the file lies; it has no name there, and goes with this object.
        origins: where the records came from, each with a method ``place``.
        path: of the file, where other processes read these rows, too; it stays.
        form: of the source, as the recipe has it.

    Attributes:
        joins: whether several of these rows may stand together in one training row.
        head: how a training row of this source begins in its file.
        columns: fields of the first record, for messages.
        kept: fields that some row has of those that were asked for.
    """

    def __init__(
        self,
        source: str,
        folder: Path,
        origins: Sequence[Any] = (),
        path: Path | None = None,
        form: str = "plain",
    ) -> None:
        self.source, self.joins, self._origins, self._path = source, False, origins, path
        self._file: IO[bytes] = (
            path.open("w+b", buffering=_BUFFER)
            if path
            else tempfile.TemporaryFile(dir=folder, buffering=_BUFFER)  # noqa: SIM115  (lives on)
        )
        self._ends, self._cuts = array("q"), array("q")
        self._numbers, self._files = array("q"), array("l")
        self._keys = bytearray()
        self._hardness = array("d")  # of every row, or of none
        self.columns, self.kept = list[str](), set[str]()
        self._size = 0
        chat = b'"form": "chat_template", ' if form == "chat_template" else b""
        self.head = b'{"skill": %b, %b"segments": ' % (encode_basestring(source).encode(), chat)

    def __len__(self) -> int:
        return len(self._ends)

    def add(
        self,
        made: Made,
        file: int,
        fields: dict[str, str] | None = None,
        hardness: float | None = None,
    ) -> None:
        """Keep a row.

        Args:
            made: the row.
            file: the number of its origin.
            fields: of its record, those that somebody asks for later.
            hardness: what ``data.order: easy-first`` goes by; of all rows, or of none.

        Raises:
            Fault: it holds half a character (a lone surrogate), which no file can hold.
        """
        try:
            prompt = made.prompt
            asked, answer = _written(prompt), _written(made.completion)
            if made.segments:
                segments = _segments(made.segments)
            elif prompt:
                segments = b"".join((_ASKED, asked, _ANSWER, answer, _END))
            else:
                segments = b"".join((_TEXT, answer, _END))
        except UnicodeEncodeError as error:
            code = ord(error.object[error.start])
            raise Fault(
                f"half a character (lone surrogate U+{code:04X}) in its text; mend the row"
            ) from None
        rest = _rest(made.question, fields) if made.question or fields else b""
        if fields:
            self.kept.update(fields)
        self._file.write(segments + rest if rest else segments)
        self._size += len(segments) + len(rest)
        self._ends.append(self._size)
        self._cuts.append(len(segments))
        self._numbers.append(made.number)
        self._files.append(file)
        if hardness is not None:
            self._hardness.append(hardness)
        self._keys += xxh3_128_digest(asked if prompt else answer)

    def append(self, other: "Rows") -> None:
        """Keep all rows of another part of the source, behind those that are here."""
        assert other._path
        with other._path.open("rb") as file:
            shutil.copyfileobj(file, self._file, _BUFFER)
        self._ends.extend(end + self._size for end in other._ends)
        self._size += other._size
        for name in ("_cuts", "_numbers", "_files", "_hardness", "_keys"):
            getattr(self, name).extend(getattr(other, name))
        self.columns = self.columns or other.columns
        self.kept |= other.kept

    def done(self) -> None:
        """All rows were added: from now on they are read."""
        self._file.flush()
        if self._path:
            with self._path.with_suffix(".numbers").open("wb") as file:
                pickle.dump({**vars(self), "_file": None}, file)

    def __reduce__(self) -> Any:
        """Another process gets the path, and reads what ``done`` left there."""
        assert self._path, "these rows lie in no file that another process could read"
        return _opened, (str(self._path),)

    def keys(self) -> Any:
        """The hash of each row's prompt (of a text without one, of the text), a numpy array."""
        import numpy as np

        return np.frombuffer(bytes(self._keys), dtype=f"S{KEY}")

    def first_of_each(self) -> bytes:
        """1 for the first row of each prompt, 0 for those that repeat it."""
        import numpy as np

        halves = np.frombuffer(bytes(self._keys), dtype=np.uint64).reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: of equal ones the first is first
        there = halves[order]
        again = np.zeros(len(order), dtype=bool)
        again[1:] = (there[1:] == there[:-1]).all(axis=1)
        first = np.ones(len(order), dtype=np.uint8)
        first[order[again]] = 0
        return first.tobytes()

    def place(self, at: int) -> str:
        """Where the record lies that a row came from."""
        return str(self._origins[self._files[at]].place(self._numbers[at]))

    def segments(self, at: int) -> bytes:
        """The JSON of a row's segments."""
        start = self._ends[at - 1] if at else 0
        return os.pread(self._file.fileno(), self._cuts[at], start)

    def question(self, at: int) -> Question | None:
        """The question of a row that HELM can ask in its own words."""
        found = self._rest(at).get("question")
        return Question(**{**found, "choices": tuple(found["choices"])}) if found else None

    def fields(self, at: int) -> dict[str, str]:
        """The fields of its record that were asked for."""
        return self._rest(at).get("fields") or {}

    def hardness(self, at: int) -> float | None:
        """What a row goes by where the easiest is learnt first; None: its length."""
        return self._hardness[at] if self._hardness else None

    def _rest(self, at: int) -> dict[str, Any]:
        start = (self._ends[at - 1] if at else 0) + self._cuts[at]
        size = self._ends[at] - start
        found: dict[str, Any] = (
            json.loads(os.pread(self._file.fileno(), size, start)) if size else {}
        )
        return found


def _opened(path: str) -> Rows:
    """The rows of a file that another process may have made."""
    return _read(path, Path(path).with_suffix(".numbers").stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)  # a task is given rows of the same few files again and again
def _read(path: str, written: int) -> Rows:
    rows = Rows.__new__(Rows)
    vars(rows).update(pickle.loads(Path(path).with_suffix(".numbers").read_bytes()))
    rows._file = Path(path).open("rb")  # noqa: SIM115  (it lives as long as this)
    return rows


class Stored:
    """A row on the disk, which reads as ``tools.data.render.Pair`` does."""

    __slots__ = ("at", "rows", "source")

    def __init__(self, rows: Rows, at: int) -> None:
        self.rows, self.at, self.source = rows, at, rows.source

    @property
    def joins(self) -> bool:
        """Whether it may stand beside others in one training row."""
        return self.rows.joins

    @property
    def prompt(self) -> str:
        """All before the last learnt text."""
        return "".join(segment["text"] for segment in self.segments()[:-1])

    @property
    def completion(self) -> str:
        """The last learnt text."""
        return str(self.segments()[-1]["text"])

    @property
    def question(self) -> Question | None:
        """As HELM asks it, where it can in its own words."""
        return self.rows.question(self.at)

    @property
    def hardness(self) -> float | None:
        """What ``data.order: easy-first`` goes by, where the recipe names a field."""
        return self.rows.hardness(self.at)

    @property
    def length(self) -> int:
        """Characters."""
        return sum(len(segment["text"]) for segment in self.segments())

    @property
    def place(self) -> str:
        """Where its record lies."""
        return self.rows.place(self.at)

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its record that were asked for, as texts."""
        return self.rows.fields(self.at)

    def texts(self) -> tuple[str, str]:
        """Prompt and completion, read once."""
        *before, last = (segment["text"] for segment in self.segments())
        return "".join(before), last

    def segments(self) -> list[dict[str, Any]]:
        """Texts and whether they are learnt, in order."""
        found: list[dict[str, Any]] = json.loads(self.json())
        return found

    def json(self) -> bytes:
        """The segments as they are written."""
        return self.rows.segments(self.at)


def _written(text: str) -> bytes:
    """A text as JSON; most have nothing to escape but line ends, and that is seen sooner."""
    data = text.encode()
    if len(data.translate(None, _ESCAPED)) == len(data):
        return b'"%b"' % data.replace(b"\n", b"\\n")
    return encode_basestring(text).encode()


def _segments(segments: Iterable[Segment]) -> bytes:
    parts = [
        b'{"label": %b, "text": %b}' % (b"true" if learnt else b"false", _written(text))
        for learnt, text in segments
    ]
    return b"[" + b", ".join(parts) + b"]"


def _rest(question: Question | None, fields: dict[str, str] | None) -> bytes:
    # As ASCII: half a character is found in what is learnt, not here.
    asked = vars(question) if question else None
    return json.dumps({"question": asked, "fields": fields}).encode()


def keys_of(prompts: Iterable[str]) -> Any:
    """The hashes of prompts that lie on no disk, as ``Rows.keys`` gives them."""
    import numpy as np

    found = b"".join(_hash(encode_basestring(prompt).encode()) for prompt in prompts)
    return np.frombuffer(found, dtype=f"S{KEY}")


def _hash(data: bytes) -> bytes:
    return xxh3_128_digest(data)
