"""Parquet: the columns that are asked for, in batches."""

from collections.abc import Collection, Iterator
from typing import IO, Any

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record

BATCH = 10_000  # rows turned into Python values at once


def rows(stream: IO[bytes], wanted: Collection[str]) -> Iterator[Record]:
    """The rows, numbered from 1.

    Args:
        stream: the file's bytes, which must be able to go back.
        wanted: columns; all where none or one that is not there is named: pictures and scores that
            nobody asks for are not read.

    Raises:
        Fault: with the row, where it is one row's.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(stream)
        names = set(file.schema_arrow.names)
        columns = sorted(wanted) if wanted and names.issuperset(wanted) else None
        for batch in file.iter_batches(BATCH, columns=columns):
            for fields in values(batch, number):
                number += 1
                yield number, fields
    except (pyarrow.ArrowException, OSError, OverflowError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Fault(
            f"not whole Parquet ({said}); fetch or write the file anew", whole=True
        ) from None


def values(batch: Any, before: int) -> list[dict[str, Any]]:
    """A batch as Python values.

    Args:
        batch: a pyarrow ``RecordBatch``.
        before: rows before it, for the place.
    """
    try:
        found: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError as error:
        raise Fault(*_unreadable(batch, before, error)) from None
    except (ValueError, OverflowError) as error:
        raise Fault(f"a value cannot be read ({error})", before + 1) from None
    return found


def _unreadable(batch: Any, before: int, error: UnicodeDecodeError) -> tuple[str, int]:
    for at in range(batch.num_rows):
        for name in batch.schema.names:
            try:
                batch.column(name)[at].as_py()
            except UnicodeDecodeError:
                return f"field {name!r} is not UTF-8; write the file anew", before + at + 1
    return f"not UTF-8 ({error.reason})", before + 1
