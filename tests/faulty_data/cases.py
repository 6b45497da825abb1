"""Files that no training should begin with: each with its recipe and the one thing to be told.

``FILE`` in a message stands for the file's path. Real files hold mostly good rows; so do these.
"""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard


@dataclass(frozen=True)
class Case:
    """A faulty file.

    Attributes:
        file: its name.
        content: its bytes, made when asked for.
        said: how the one message begins.
        also: what else stands in it: the remedy.
        source: keys of the source beside kind, path, licence and origin.
        data: keys of the data section.
    """

    file: str
    content: Callable[[], bytes]
    said: str
    also: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def row(n: int) -> dict[str, Any]:
    return {"instruction": f"Say {n} in words.", "response": f"The number {n}."}


GOOD = [row(n) for n in range(50)]


def lines(*more: Any, first: Any = None) -> Callable[[], bytes]:
    """Good rows, then others: objects, or text as it is."""
    rows = [*([first] if first is not None else []), *GOOD, *more]
    texts = [
        one
        if isinstance(one, bytes)
        else (one if isinstance(one, str) else json.dumps(one)).encode()
        for one in rows
    ]
    return lambda: b"\n".join(texts) + b"\n"


def array(*more: str) -> Callable[[], bytes]:
    return lambda: ("[" + ",\n".join([*map(json.dumps, GOOD), *more]) + "]").encode()


def table(*more: bytes, head: bytes = b"instruction,response") -> Callable[[], bytes]:
    good = [f"Say {n} in words.,The number {n}.".encode() for n in range(50)]
    return lambda: b"\n".join([head, *good, *more]) + b"\n"


def parquet(columns: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _texts(name: str) -> list[str]:
    return [one[name] for one in GOOD]


def broken_parquet() -> bytes:
    texts = [text.encode() for text in _texts("response")]
    texts[30] = b"na\xefve au lait"
    array = pa.StringArray.from_buffers(
        len(texts),
        pa.array([0, *_ends(texts)], pa.int32()).buffers()[1],
        pa.py_buffer(b"".join(texts)),
    )
    return parquet({"instruction": _texts("instruction"), "response": array})


def _ends(texts: list[bytes]) -> list[int]:
    found, size = [], 0
    for text in texts:
        size += len(text)
        found.append(size)
    return found


def packed(content: Callable[[], bytes], how: str, cut: int = 0) -> Callable[[], bytes]:
    def made() -> bytes:
        data = content()
        done = gzip.compress(data) if how == "gzip" else zstandard.compress(data)
        return done[: len(done) - cut] if cut else done

    return made


LINE = "FILE:51: "
CASES: dict[str, Case] = {
    # Files that hold no rows.
    "empty": Case("s.jsonl", lambda: b"", "FILE: the file has no row"),
    "blank lines": Case("s.jsonl", lambda: b"\n\n \n", "FILE: the file has no row"),
    "empty array": Case("s.json", lambda: b"[]", "FILE: the file has no row"),
    "header alone": Case("s.csv", lambda: b"instruction,response\n", "FILE: the file has no row"),
    "empty in gzip": Case("s.jsonl.gz", packed(lambda: b"", "gzip"), "FILE: the file has no row"),
    "pointer of LFS": Case(
        "s.jsonl",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "FILE: this is a pointer of Git LFS",
        "git lfs pull",
    ),
    "web page": Case(
        "s.jsonl",
        lambda: b"<!DOCTYPE html>\n<html><body>403</body></html>\n",
        "FILE: this is a web page",
        "fetch the file itself",
    ),
    "spreadsheet": Case(
        "s.csv",
        lambda: b"PK\x03\x04" + bytes(40),
        "FILE: this is a zip archive or a spreadsheet",
        "save the sheet as CSV",
    ),
    "UTF-16": Case(
        "s.csv",
        lambda: "instruction,response\na,b\n".encode("utf-16"),
        "FILE: this is UTF-16",
        "save it as UTF-8",
    ),
    # Bytes that are no text.
    "latin-1 in JSONL": Case(
        "s.jsonl",
        lines(b'{"instruction": "na\xefve", "response": "latin1"}'),
        LINE + "not UTF-8 (byte 0xef)",
        "save the file as UTF-8",
    ),
    "latin-1 in an array": Case(
        "s.json",
        lambda: array('{"instruction": "naive", "response": "x"}')().replace(b"naive", b"na\xefve"),
        "FILE row 1: not UTF-8 (byte 0xef)",
    ),
    "latin-1 in CSV": Case("s.csv", table(b"na\xefve,latin1"), "FILE:52: not UTF-8 (byte 0xef)"),
    "latin-1 in Parquet": Case(
        "s.parquet", broken_parquet, "FILE row 31: field 'response' is not UTF-8"
    ),
    "latin-1 in gzip": Case(
        "s.jsonl.gz",
        packed(lines(b'{"instruction": "na\xefve", "response": "x"}'), "gzip"),
        LINE + "not UTF-8 (byte 0xef)",
    ),
    "lone surrogate": Case(
        "s.jsonl",
        lines('{"instruction": "half \\ud83d", "response": "r"}'),
        LINE + "half a character (lone surrogate U+D83D)",
    ),
    "NUL escaped": Case(
        "s.jsonl",
        lines({"instruction": "nul \0 here", "response": "r"}),
        LINE + "a NUL character in its question",
    ),
    "NUL raw": Case(
        "s.jsonl",
        lines(b'{"instruction": "nul \x00 here", "response": "r"}'),
        LINE + "not JSON (Invalid control character",
    ),
    "NUL in CSV": Case("s.csv", table(b"nul,an\x00swer"), "FILE:52: a NUL character in its answer"),
    # Broken formats.
    "truncated line": Case(
        "s.jsonl", lines('{"instruction": "cut of'), LINE + "not JSON (Unterminated string"
    ),
    "truncated array": Case(
        "s.json", lambda: array()()[:-6], "FILE row 50: not JSON (Unterminated string"
    ),
    "array without an end": Case(
        "s.json", lambda: array()()[:-1], "FILE row 50: the array ends early"
    ),
    "truncated gzip": Case(
        "s.jsonl.gz",
        packed(lines(), "gzip", 20),
        "FILE: its gzip data are broken or end early",
        "fetch",
    ),
    "truncated zstandard": Case(
        "s.jsonl.zst",
        packed(lines(), "zstandard", 20),
        "FILE: its zstandard data are broken or end early",
    ),
    "truncated Parquet": Case(
        "s.parquet", lambda: broken_parquet()[:-20], "FILE: not whole Parquet"
    ),
    "open quote": Case("s.csv", table(b'"Say this,and that'), "FILE:52: not CSV"),
    "too many cells": Case(
        "s.csv",
        table(b"Say this, please.,This."),
        "FILE:52: 3 cells, and the header has 2",
        "into quotes",
    ),
    "column twice": Case(
        "s.csv",
        table(head=b"response,response"),
        "FILE:1: column 'response' stands in the header twice",
    ),
    "list for a row": Case("s.jsonl", lines([1, 2]), LINE + "not an object"),
    "key twice": Case(
        "s.jsonl",
        lines('{"instruction": "a", "instruction": "b", "response": "r"}'),
        LINE + "field 'instruction' stands in this row twice",
    ),
    "nested without end": Case(
        "s.jsonl",
        lines('{"instruction": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        LINE + "nested too deep",
    ),
    # Rows that are unlike the others.
    "another schema": Case(
        "s.jsonl",
        lines({"instruction": "x", "output": "y"}),
        LINE + "no field 'response'",
        "the row has instruction, output",
    ),
    "no answer column": Case(
        "s.jsonl",
        lambda: b"".join(json.dumps({"instruction": f"a{n}"}).encode() + b"\n" for n in range(20)),
        "FILE: which column holds the answer?",
        "completion:",
    ),
    "null": Case(
        "s.jsonl",
        lines({"instruction": None, "response": "r"}),
        LINE + "field 'instruction' is empty (null or NaN)",
        "{instruction?}",
    ),
    "NaN": Case(
        "s.jsonl",
        lines('{"instruction": NaN, "response": "r"}'),
        LINE + "field 'instruction' is empty (null or NaN)",
    ),
    "answers all empty": Case(
        "s.jsonl",
        lambda: b"".join(
            json.dumps({"instruction": f"a{n}", "response": " "}).encode() + b"\n"
            for n in range(20)
        ),
        "data.sources.s: no row is left of 20 read: 20 without an answer",
    ),
    "bytes for a text": Case(
        "s.parquet",
        lambda: parquet(
            {
                "instruction": _texts("instruction"),
                "response": [t.encode() for t in _texts("response")],
            }
        ),
        "FILE row 1: field 'response' holds bytes",
    ),
    "letters spelt out": Case(
        "s.jsonl",
        lambda: b"".join(
            json.dumps({"q": f"What {n}?", "a": f"B. Football {n}"}).encode() + b"\n"
            for n in range(60)
        ),
        "data.sources.s.completion: the answers are letters with their texts",
    ),
    "the model's own token": Case(
        "s.jsonl",
        lines({"instruction": "x", "response": "ok <|im_end|>\n<|im_start|>user"}),
        LINE + "its answer holds <|im_end|>",
    ),
    "role unknown": Case(
        "s.jsonl",
        lambda: b"".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"a{n}"},
                        {"role": "assistantt", "content": "b"},
                    ]
                }
            ).encode()
            + b"\n"
            for n in range(20)
        ),
        "FILE:1: message 2 of field 'messages' has role 'assistantt'",
        "did you mean assistant?",
    ),
    # Sizes.
    "10 MB of words": Case(
        "s.jsonl",
        lines({"instruction": "big", "response": "word " * 2_000_000}),
        LINE + "a row of 10,000,0",
    ),
    "10 MB without a blank": Case(
        "s.jsonl",
        lines({"instruction": "big", "response": "x" * 10_000_000}),
        LINE + "a row of 10,000,0",
    ),
    "all rows too long": Case(
        "s.jsonl",
        lines(),
        "data.sources.s: no row is left of 50 read: 50 longer than data.max_words 3",
        "raise data.max_words",
        data={"max_words": 3},
    ),
    "fewer rows than held out": Case(
        "s.jsonl",
        lambda: b"".join(json.dumps(row(n)).encode() + b"\n" for n in range(5)),
        "data.validation_rows: no row can be held out for validation: s has 5 rows",
    ),
    "fewer rows than asked for": Case(
        "s.jsonl", lines(), "data.sources.s.rows: 80 different rows wanted", source={"rows": 80}
    ),
    # Recipes that do not fit their file.
    "split of a file": Case(
        "s.jsonl",
        lines(),
        "data.sources.s.split: a file here has no split",
        source={"split": "test"},
    ),
    "attribute": Case(
        "s.jsonl",
        lines(),
        "data.sources.s.prompt: {instruction.__class__} reaches into a field by a dot",
        source={"prompt": "{instruction.__class__}", "completion": " {response}"},
    ),
    "brace that is text": Case(
        "s.jsonl",
        lines(),
        'data.sources.s.prompt: {"a"} names no field',
        "{{",
        source={"prompt": 'Give {"a": 1} for {instruction}', "completion": " {response}"},
    ),
    "blank before the answer": Case(
        "s.jsonl",
        lines(),
        "FILE:1: its prompt ends in a blank",
        'completion with it: " {…}"',
        source={"prompt": "{instruction} Answer: ", "completion": "{response}"},
    ),
    "column misspelt": Case(
        "s.jsonl",
        lines(),
        "FILE:1: no field 'instructionn'",
        "did you mean instruction?",
        source={"prompt": "{instructionn}", "completion": " {response}"},
    ),
    "key that is not there": Case(
        "s.jsonl",
        lines(),
        "FILE:1: field 'response' holds no 'text'",
        source={"prompt": "{instruction}", "completion": " {response[text]}"},
    ),
}
