"""A data set of the hub, read by the ``datasets`` library."""

from collections.abc import Iterator
from typing import Any

from tools.data.reading.fault import Fault
from tools.data.reading.json_rows import Record
from tools.errors import UserError
from tools.recipe.schema import Source


class HubSet:
    """A set by its id.

    Args:
        where: the source's full key.
        source: as the recipe has it.
    """

    def __init__(self, where: str, source: Source) -> None:
        self._where, self._source = where, source

    def place(self, number: int | None) -> str:
        """The set, its commit where the recipe names one, the row, from 0 as the hub shows it."""
        at = f"@{self._source.revision[:7]}" if self._source.revision else ""
        return f"{self._source.path}{at}" + (f" row {number}" if number is not None else "")

    @property
    def size(self) -> int:
        """Not known before it is loaded."""
        return 0

    def cut(self, size: int) -> "list[HubSet]":
        """The library reads a set as one."""
        return [self]

    def __str__(self) -> str:
        return f"hub set {self.place(None)}"

    def records(self, where: str, wanted: set[str]) -> Iterator[Record]:
        """The rows.

        Raises:
            Fault: a row cannot be read.
            UserError: the set cannot be loaded.
        """
        rows, number = iter(self._load()), -1
        while True:
            try:
                fields = next(rows, None)
            except Exception as error:
                # Whatever the library's readers raise; the row is what a user can look at.
                said = _first_line(error)
                raise Fault(
                    f"cannot be read ({said}); mend the file, or take another revision", number + 1
                ) from None
            if fields is None:
                return
            number += 1
            yield number, fields

    def _load(self) -> Any:
        # Takes seconds to import; makers and local files need none of it.
        from datasets import disable_progress_bars, load_dataset

        disable_progress_bars()  # they would mix into ours
        source = self._source
        try:
            return load_dataset(
                source.path,
                source.subset or None,
                data_files=source.files or None,
                split=source.split,
                revision=source.revision or None,
            )
        except Exception as error:
            # The library raises a dozen unrelated types here; the remedy is the same for each.
            raise UserError(
                f"{self._where}.path: cannot load {source.path} ({_first_line(error)}); check "
                "path, subset, split, revision and the network, and HF_TOKEN if the set is gated"
            ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
