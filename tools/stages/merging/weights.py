"""The tensors of a model's folder: where they lie, and files written like those they come from.

Read without torch, so that a base can be held against its own files before anything is trained.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import BLOCK, read_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTERS = "oneday_adapters"  # in a file's metadata: SHA-256 of those that are in the weights
_AGAIN = "fetch it again (of the hub's copy: remove the file, then the same command)"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Attributes:
        name: in the file, which need not be transformers' name for it.
        file: that holds it.
        dtype: by the format's names: ``BF16``, ``F32``.
        shape: of it.
        start: its first byte in the file.
        size: bytes.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def resized(self, shape: Iterable[int]) -> "Tensor":
        """It with another shape, in no file yet; itself where that is its shape."""
        if (new := tuple(shape)) == self.shape:
            return self
        size = self.size // max(prod(self.shape), 1) * prod(new)
        return Tensor(self.name, self.file, self.dtype, new, 0, size)


def read(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model's folder by name, in the order of its files.

    Raises:
        UserError: files are missing or cut off, or there are none that transformers looks for.
    """
    tensors, wrong = _read(folder)
    if wrong:
        raise UserError(wrong)
    return tensors


def faults(folder: Path) -> list[str]:
    """What keeps an adapter from ever going into the weights of this folder.

    That there are none at all is no fault yet: training itself tells it, at its start.
    """
    config = read_json(folder / "config.json")
    found = _read(folder)[1] if (folder / SINGLE).is_file() or _listed(folder) else []
    quantized = isinstance(config, dict) and config.get("quantization_config")
    if quantized:
        how = quantized.get("quant_method", "") if isinstance(quantized, dict) else ""
        found.append(
            f"model: {folder}: its weights are quantized ({how or 'config.json says so'}): no "
            "adapter can be merged into them; take the model it was made from (quantize.format "
            "comes after the merge)"
        )
    return found


def _read(folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    tensors: dict[str, Tensor] = {}
    paths, wrong = _files(folder)
    for path in paths:
        if isinstance(found := _header(path), str):
            wrong.append(found)
        else:
            tensors |= found
    listed = _listed(folder)
    lost = [name for name in listed if name not in tensors]
    if lost and not wrong:
        wrong.append(
            f"model: {folder / INDEX} names {len(lost)} tensor(s) that its files do not hold, first"
            f" {lost[0]} in {listed[lost[0]]}: the files are of another version; {_AGAIN}"
        )
    return tensors, wrong


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    """Those that transformers loads, in order, and what is said of those that are not there."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE], []
    names = list(dict.fromkeys(_listed(folder).values()))
    if not names:
        return [], [
            f"model: {folder} holds neither {SINGLE} nor {INDEX}, which transformers looks for; "
            "take a folder that save_pretrained wrote"
        ]
    lost = [name for name in names if not (folder / name).is_file()]
    wrong = [
        f"model: {folder}: {name} is missing, one of the {len(names)} files of its weights; "
        f"{_AGAIN}"
        for name in lost
    ]
    return [folder / name for name in names if name not in lost], wrong


def _listed(folder: Path) -> dict[str, str]:
    """File of each tensor, as the index has it; empty where one file has all of them."""
    index = None if (folder / SINGLE).is_file() else read_json(folder / INDEX)
    listed = index.get("weight_map") if isinstance(index, dict) else None
    return listed if isinstance(listed, dict) else {}


def _header(path: Path) -> dict[str, Tensor] | str:
    """The tensors of a file, or what is wrong with it."""
    try:
        entries, begin = _entries(path)
        tensors = {
            name: Tensor(
                name,
                path,
                entry["dtype"],
                tuple(entry["shape"]),
                begin + entry["data_offsets"][0],
                entry["data_offsets"][1] - entry["data_offsets"][0],
            )
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"model: {path} is no file of safetensors; {_AGAIN}"
    end = max((tensor.start + tensor.size for tensor in tensors.values()), default=begin)
    if (size := path.stat().st_size) < end:
        return f"model: {path} is cut off: {size:,} bytes of {end:,}; {_AGAIN}"
    return dict(sorted(tensors.items(), key=lambda item: item[1].start))


def _entries(path: Path) -> tuple[dict[str, Any], int]:
    """What the head of a file says, without its metadata, and where the tensors begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(length)
        head = json.loads(file.read(length))
    head.pop("__metadata__", None)
    return head, 8 + length


def metadata(path: Path) -> dict[str, str]:
    """What a whole file of safetensors says of itself."""
    with path.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return dict(head.get("__metadata__") or {})


def write(
    path: Path,
    tensors: Iterable[Tensor],
    data: Callable[[Tensor], Any],
    about: dict[str, str],
) -> None:
    """Write a file of safetensors, holding one tensor in memory at a time.

    Args:
        path: of the new file.
        tensors: what it is to hold; those with larger numbers come first, as the format's own
            writer has them: each then begins at a multiple of its size.
        data: a tensor's new bytes, by the buffer protocol; None where they are the old ones.
        about: its metadata.
    """
    order = sorted(tensors, key=lambda one: -(one.size // max(prod(one.shape), 1)))
    head: dict[str, Any] = {"__metadata__": about}
    at = 0
    for one in order:
        place = [at, at := at + one.size]
        head[one.name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": place}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for one in order:
            new = data(one)
            if new is None:
                _copy(one, file)
            else:
                file.write(new)


def _copy(tensor: Tensor, target: Any) -> None:
    left = tensor.size
    with tensor.file.open("rb") as source:
        source.seek(tensor.start)
        while left:
            block = source.read(min(left, BLOCK))
            target.write(block)
            left -= len(block)
