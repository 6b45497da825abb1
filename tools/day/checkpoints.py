"""Checkpoints to be trusted: written beside, sealed with hashes, renamed; verified before use.

The seal, ``.complete``, is the last file written into a checkpoint and names all others with size
and SHA-256. Axolotl goes on from the highest number in its output folder, so only whole checkpoints
may stay there. No torch here: both the trainer's process and ours use this module.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.files import file_digest, write_json

COMPLETE = ".complete"
STAGING = ".saving"  # in the output folder: what a save fills before it gets its name
STATE = "trainer_state.json"
# Adopted where the clock cut training short: only with the schedule can that be made again.
_ADAPTER = ("adapter_model.safetensors", "adapter_config.json", "schedule.json")
KEPT = "kept"  # in the output folder: adapters of checkpoints, for a soup, by step
_MODEL = ("config.json", "generation_config.json", "model*.safetensors",
          "model.safetensors.index.json", "schedule.json")  # fmt: skip


def number(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def found(folder: Path) -> list[Path]:
    """All checkpoints of an output folder, newest first, whole or not."""
    named = [path for path in folder.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdigit()]
    return sorted(named, key=number, reverse=True)


def seal(folder: Path) -> int:
    """Flush every file to the disk, then write the seal; the bytes of all files.

    Raises:
        OSError: the disk is full or broken; there is no seal then.
    """
    files = {path.relative_to(folder).as_posix(): _sealed(path) for path in _files(folder)}
    write_json(folder / COMPLETE, {"files": files})
    _sync(folder)  # the names in a folder are on the disk only once the folder is
    return sum(entry["size"] for entry in files.values())


def publish(staged: Path, final: Path) -> int:
    """Seal a staged checkpoint and give it its name; the bytes of its files.

    Raises:
        OSError: as ``seal``; ``final`` is as it was.
    """
    size = seal(staged)
    if final.exists():  # an epoch's last step may be saved twice
        shutil.rmtree(final)
    staged.rename(final)
    _sync(final.parent)  # the rename, too, lasts only then
    return size


def fault(checkpoint: Path) -> str:
    """What is wrong with a checkpoint; empty when every byte is as it was written."""
    try:
        files = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "half-written"
    except (OSError, ValueError, KeyError, TypeError):
        return f"without a readable {COMPLETE}"
    for name, entry in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"incomplete: {name} is missing"
        if path.stat().st_size != entry["size"]:  # told before gigabytes are hashed
            return f"truncated: {name} has {path.stat().st_size} bytes, not {entry['size']}"
        if file_digest(path) != entry["sha256"]:
            return f"corrupted: {name} is not what was written"
    return ""


def settle(folder: Path, tell: Callable[[str], None]) -> list[Path]:
    """Remove what cannot be gone on from, each with a line; the whole checkpoints, newest first.

    Args:
        folder: the output folder.
        tell: called with each line.
    """
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    whole = []
    for checkpoint in found(folder):
        if wrong := fault(checkpoint):
            tell(f"{checkpoint.name} is {wrong}; not used, removed")
            shutil.rmtree(checkpoint)
        else:
            whole.append(checkpoint)
    newest = number(whole[0]) if whole else 0
    for path in kept(folder):
        if int(path.name) > newest:  # it comes again, and may be in pieces
            shutil.rmtree(path)
    return whole


def keep(checkpoint: Path, folder: Path, step: int, count: int) -> None:
    """Copy a checkpoint's adapter beside those of earlier ones, of which the last few stay.

    Args:
        checkpoint: the folder that has it.
        folder: the output folder.
        step: of the checkpoint.
        count: how many stay.
    """
    place = folder / KEPT / str(step)
    shutil.rmtree(place, ignore_errors=True)  # of an attempt that was killed
    copy_adapter(checkpoint, place)
    for old in kept(folder)[count:]:
        shutil.rmtree(old)


def copy_adapter(checkpoint: Path, folder: Path) -> None:
    """Copy the adapter in a checkpoint into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ADAPTER[:2]:
        shutil.copyfile(checkpoint / name, folder / name)


def kept(folder: Path) -> list[Path]:
    """The adapters that :func:`keep` has left in an output folder, newest first."""
    there = [path for path in (folder / KEPT).glob("*") if path.name.isdigit()]
    return sorted(there, key=lambda path: int(path.name), reverse=True)


def state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state in a checkpoint: steps, best checkpoint, log history."""
    values: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return values


def chosen(folder: Path, best: bool) -> Path | None:
    """The checkpoint that is the adapter when training ends; None when there is none.

    Args:
        folder: the output folder, settled.
        best: the best by evaluation, when it is known, instead of the newest.
    """
    whole = found(folder)
    if not whole:
        return None
    # Its name alone: the run folder may have moved since.
    name = Path(state(whole[0]).get("best_model_checkpoint") or "").name
    return folder / name if best and folder / name in whole else whole[0]


def adopt(folder: Path, best: bool) -> int | None:
    """Make a whole checkpoint what training made; its step, None when there is none.

    That is its adapter, or, where all weights are trained, its model.

    Args:
        folder: the output folder, settled.
        best: take the best by evaluation, when it is known, instead of the newest.
    """
    taken = chosen(folder, best)
    if taken is None:
        return None
    adapter = (taken / _ADAPTER[0]).is_file()
    named = [path for form in _MODEL for path in taken.glob(form)]
    for path in [taken / file for file in _ADAPTER] if adapter else named:
        shutil.copyfile(path, folder / path.name)
    return number(taken)


def clear(folder: Path) -> None:
    """Remove all checkpoints, whole or not."""
    for checkpoint in found(folder):
        shutil.rmtree(checkpoint)
    shutil.rmtree(folder / STAGING, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / COMPLETE)


def _sealed(path: Path) -> dict[str, Any]:
    _sync(path)
    return {"size": path.stat().st_size, "sha256": file_digest(path)}


def _sync(path: Path) -> None:
    # A folder opens in no other way, and fsync asks for no right to write.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
