"""Rows for tests of operators."""

from typing import Any

import pyarrow as pa


def table(*pairs: tuple[str, str], **fields: list[Any]) -> pa.Table:
    """Rows of prompt and completion, places ``mine:1``, ``mine:2``, …; and more columns."""
    return pa.table(
        {
            "source": pa.array(["mine"] * len(pairs), pa.string()),
            "place": pa.array(
                [f"mine:{number}" for number in range(1, len(pairs) + 1)], pa.string()
            ),
            "prompt": pa.array([pair[0] for pair in pairs], pa.string()),
            "completion": pa.array([pair[1] for pair in pairs], pa.string()),
            **fields,
        }
    )


def places(rows: pa.Table) -> list[int]:
    """The numbers in the rows' places."""
    return [int(place.split(":")[1]) for place in rows.column("place").to_pylist()]
