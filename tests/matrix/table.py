"""A matrix as it is printed: a line a family, a cell a column, and below it what is wrong."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

#: What the table says, and what is wrong, empty where nothing is.
Cell = tuple[str, str]
FAILED = "FAILED"


def still() -> None:
    """Nothing but the table is printed; one thread, for the models are tiny."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)


def show(
    families: Sequence[str],
    columns: Sequence[str],
    cell: Callable[[str, str, Path], Cell],
    width: int,
    label: Callable[[str], str] = str,
) -> list[str]:
    """Print the table, each cell as soon as it is known.

    Args:
        families: its lines.
        columns: its columns.
        cell: what makes one: of a family, a column, and a folder that a line's cells share.
        width: of a column.
        label: what stands before a family's line.

    Returns:
        What is wrong, a line a cell; a cell that cannot be made is one of them.
    """
    wrong: list[str] = []
    labels = [label(one) for one in families]
    room = max(13, *map(len, labels))
    print("family".ljust(room), *(one.rjust(width) for one in columns))
    for family, text in zip(families, labels, strict=True):
        print(text.ljust(room), end="", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            for column in columns:
                said, fault = _tried(cell, family, column, Path(folder))
                print(f" {said.rjust(width)}", end="", flush=True)
                wrong += [f"{family}, {column}: {fault}"] if fault else []
        print()
    return wrong


def _tried(cell: Callable[[str, str, Path], Cell], family: str, column: str, folder: Path) -> Cell:
    """A cell; what breaks in one, whatever it is, is told and leaves the others alone."""
    try:
        return cell(family, column, folder)
    except Exception as error:
        return FAILED, f"{type(error).__name__}: {error}"


def verdict(wrong: Sequence[str], count: int) -> int:
    """Print what is wrong, or that nothing of so many cells is; the process's exit code."""
    print(*wrong or [f"all {count} as they should be"], sep="\n")
    return bool(wrong)
