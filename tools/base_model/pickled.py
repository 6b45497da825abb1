"""A base of pickles (``pytorch_model.bin``) as one of safetensors: all stages read those."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.console import say
from tools.errors import StageError, UserError
from tools.files import digest, read_json, whole_folder, write_json

_INDEX = ".index.json"
_PICKLES = "pytorch_model*.bin"


def as_safetensors(folder: Path, cache: Path) -> Path:
    """The folder itself, or a copy whose weights are safetensors, made on first use.

    Transformers trains on pickles, but a pickle cannot be read tensor by tensor, as merging does,
    and the worker takes safetensors only.

    Args:
        folder: a model's.
        cache: where copies are kept.

    Raises:
        UserError: a pickle that the index names is missing.
        StageError: a pickle cannot be read, or holds more than tensors.
    """
    shards = sorted(folder.glob(_PICKLES))
    if not shards or any(folder.glob("*.safetensors")):
        return folder
    _demand_all(folder, shards)
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    made = cache / f"{folder.name}-{digest([str(folder.absolute()), states])[:12]}"
    if not (made / "origin.json").is_file():
        say(f"model: writing the weights of {folder} as safetensors (once)")
        with whole_folder(made) as copy:
            copy.mkdir()
            _copy_others(folder, copy)
            _convert(shards, copy)
            write_json(copy / "origin.json", {"pickles": [path.name for path in shards]})
    return made


def _demand_all(folder: Path, shards: list[Path]) -> None:
    """Else what the missing ones hold would be drawn at random, and trained on."""
    index = read_json(folder / f"pytorch_model.bin{_INDEX}")
    single = (folder / "pytorch_model.bin").is_file()  # transformers then asks no index
    named = index.get("weight_map") if isinstance(index, dict) and not single else None
    files = set(named.values()) if isinstance(named, dict) else set()
    if lost := sorted(files - {path.name for path in shards}):
        raise UserError(
            f"model: {folder}: {', '.join(lost)} is missing, of {len(files)} files of its weights; "
            "fetch it again (of the hub's copy: the same command)"
        )


def _copy_others(folder: Path, copy: Path) -> None:
    """Tokenizer and configuration; other frameworks' weights are none of ours."""
    for path in folder.iterdir():
        ours = re.search(r"\.(json|model|txt|jinja|tiktoken)$", path.name)
        if ours and path.is_file() and not path.name.endswith(_INDEX):
            shutil.copy(path, copy)


def _convert(shards: list[Path], folder: Path) -> None:
    """Write each pickle as a file of safetensors, and their index where there are several."""
    from safetensors.torch import save_file

    places: dict[str, str] = {}
    size, count = 0, len(shards)
    for number, path in enumerate(shards, start=1):
        tensors = dict(_tensors(path))
        single = "model.safetensors"
        name = single if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, name)
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if count > 1:
        index = {"metadata": {"total_size": size}, "weight_map": places}
        write_json(folder / f"model.safetensors{_INDEX}", index)


def _tensors(path: Path) -> Iterator[tuple[str, Any]]:
    """The tensors of a pickle, each with memory of its own, as safetensors wants it."""
    import pickle

    import torch

    try:
        # weights_only: a pickle could run any code else.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StageError(f"model: {path}: no weights can be read from it: {why}") from None
    seen: set[int] = set()
    for name, tensor in state.items():
        shared = tensor.untyped_storage().data_ptr() in seen
        seen.add(tensor.untyped_storage().data_ptr())
        yield name, tensor.clone() if shared else tensor.contiguous()
