"""What Axolotl keeps of rows that it has read, for the next training of the same ones."""

import json
import shutil
from pathlib import Path

from tools.console import say

# What ``datasets`` 5.0 writes last of a set that it saves.
_LAST = "dataset_info.json"


def drop_torn(folder: Path) -> Path:
    """Remove what a training that was killed, or whose disk was full, had written by half.

    Axolotl 0.21.0 loads whatever lies there, and ends by it each time from then on
    (findings/axolotl-0.21-loads-a-torn-cache.sh).

    Args:
        folder: ``dataset_prepared_path``; a folder a set, named by its hash.

    Returns:
        The same folder.
    """
    for one in folder.glob("*/"):
        if not _whole(one):
            say(f"train: {one} was written by half; it is made anew")
            shutil.rmtree(one)
    return folder


def _whole(prepared: Path) -> bool:
    try:
        json.loads((prepared / _LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
