"""What no file is made of: every fault, told before anything is loaded."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.base_model.architecture import of_folder
from tools.errors import UserError
from tools.export import programs
from tools.files import read_json
from tools.recipe import formats
from tools.recipe.faults import nearest
from tools.run.exports import GGUF_TYPES
from tools.run.folder import Run

FORMATS = ("gguf", "onnx")
USUAL = "Q8_0"  # the type that is made where none is named
BITS = {name: formats.FORMATS[name].bits for name in GGUF_TYPES}
_FLOATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def kinds(form: str, words: str) -> list[str]:
    """The types that ``TYPE=`` names, finest first; none of a format that has no types.

    Args:
        form: of the file, ``gguf`` or ``onnx``.
        words: types, by commas or spaces; ``all`` is all of them; empty: the usual one.

    Raises:
        UserError: one of them is none.
    """
    faults = []
    if form == "onnx":
        if words:
            said = "FORMAT=onnx has no types, it is float32"
            raise UserError(f"TYPE={words}: {said}; call it without TYPE")
        return []
    if form not in FORMATS:
        listed = " or ".join(FORMATS)
        faults.append(f"FORMAT={form}: no such format{nearest(form, FORMATS)}; FORMAT is {listed}")
    named = (words or USUAL).replace(",", " ").upper().split()
    if unknown := [one for one in named if one not in (*GGUF_TYPES, "ALL")]:
        faults += [
            f"TYPE={one}: no such type{nearest(one, GGUF_TYPES)}; TYPE is one or several of "
            f"{', '.join(GGUF_TYPES)}, or all"
            for one in unknown
        ]
    if not named:
        faults.append(f"TYPE: empty; TYPE is one or several of {', '.join(GGUF_TYPES)}, or all")
    if faults:
        raise UserError(faults)
    return [one for one in GGUF_TYPES if one in named or "ALL" in named]


def refuse(run: Run, wanted: list[str], same: str) -> None:
    """Stop where no file can be made.

    Args:
        run: whose merged model it is.
        wanted: types still to be made.
        same: the words of this call, as Make takes them.

    Raises:
        UserError: every fault.
    """
    unmerged(run, same)
    folder = run.output("merge")
    faults = [*model(folder), *_room(run, folder, wanted)]
    try:
        faults += _family(folder, same)
    except UserError as error:
        faults += error.faults
    if faults:
        raise UserError(faults)


def unmerged(run: Run, same: str) -> None:
    """Stop where there is no merged model of this recipe.

    Raises:
        UserError: there is none.
    """
    folder = run.output("merge")
    if not run.done("merge"):
        there = "of another recipe" if folder.is_dir() else "missing"
        raise UserError(f"{folder}: {there}; it is what is exported: make merge{same}")


def lossless(folder: Path) -> str:
    """The type that holds a model's weights as they are."""
    config = _config(folder)
    return _FLOATS.get(str(config.get("dtype") or config.get("torch_dtype")), "F32")


def _config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / "config.json")
    return found if isinstance(found, dict) else {}


def _family(folder: Path, same: str) -> Iterator[str]:
    names, kind = _config(folder).get("architectures") or ["none named"], of_folder(folder)
    if kind.parted:
        yield (
            f"{folder}: it is {kind.said}: a GGUF is held against the merged model by llama.cpp, "
            f"which is asked as a causal model is; call make export{same} FORMAT=onnx"
        )
    elif not set(names) & programs.families():
        yield (
            f"{folder}: llama.cpp's converter knows no {names[0]}; serve the merged folder as it "
            "is (make serve), or tune a model of another family"
        )


def model(folder: Path) -> Iterator[str]:
    """What is wrong with a merged model, whatever it is to become."""
    config = _config(folder)
    if config.get("quantization_config"):
        yield f"{folder}: its weights are quantized already; merge onto a plain base"
    tokenizer = read_json(folder / "tokenizer.json")
    if not isinstance(tokenizer, dict):
        yield f"{folder}/tokenizer.json: missing or damaged; remove the folder and call make merge"
        return
    rows, most = config.get("vocab_size"), _entries(tokenizer)
    if rows and most > rows:
        yield (
            f"{folder}: tokenizer.json has {most} tokens, config.json only vocab_size={rows}: some "
            "have no embedding; resize the base's embeddings to its tokenizer, train and merge"
        )


def _entries(tokenizer: dict[str, Any]) -> int:
    """One more than the highest id."""
    vocabulary = tokenizer.get("model", {}).get("vocab") or {}
    ids = [one["id"] for one in tokenizer.get("added_tokens", [])]
    return max([len(vocabulary), *(one + 1 for one in ids)])


def _room(run: Run, folder: Path, wanted: list[str]) -> Iterator[str]:
    """Every type, and the whole file that the smaller ones are packed from."""
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    whole = lossless(folder)
    parts = {kind: weights * BITS[kind] / BITS[whole] for kind in wanted}
    if any(BITS[kind] < 16 for kind in wanted):
        parts["to pack from"] = float(weights)
    free = shutil.disk_usage(run.path).free
    if sum(parts.values()) > free:
        listed = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in parts.items())
        yield (
            f"{run.path}: the disk has {free / 1e9:.2f} GB, and this takes "
            f"{sum(parts.values()) / 1e9:.2f} ({listed}); make room, or name fewer types"
        )
