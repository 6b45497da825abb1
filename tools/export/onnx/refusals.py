"""What no ONNX file is made of: every fault, told before anything is loaded."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.base_model.architecture import of_folder
from tools.errors import UserError
from tools.export import refusals
from tools.export.onnx import programs
from tools.files import read_json
from tools.recipe.kinds import Kind
from tools.run.folder import Run

FLOAT = 4  # bytes of a weight
_BYTES = {"bfloat16": 2, "float16": 2}  # of others than float32


def refuse(run: Run, same: str) -> None:
    """Stop where no file can be made.

    Args:
        run: whose merged model it is.
        same: the words of this call, as Make takes them.

    Raises:
        UserError: every fault.
    """
    refusals.unmerged(run, same)
    folder = run.output("merge")
    kind = of_folder(folder)
    if not kind.parted:
        raise UserError(
            f"{folder}: it is {kind.said}: FORMAT=onnx is for models with an encoder (T5, BART, "
            f"BERT and their kin); call make export{same} FORMAT=gguf"
        )
    faults = [*refusals.model(folder), *_start(folder, kind), *_room(run, folder)]
    try:
        programs.ONNX_RUNTIME.needed()
    except UserError as error:
        faults += error.faults
    if faults:
        raise UserError(faults)


def _start(folder: Path, kind: Kind) -> Iterator[str]:
    """A decoder's answers begin somewhere; a class of transformers may know where by itself."""
    if kind.parted != "apart":
        return
    from transformers import AutoConfig

    told = read_json(folder / "generation_config.json") or {}
    start = getattr(AutoConfig.from_pretrained(folder), "decoder_start_token_id", None)
    if start is None and told.get("decoder_start_token_id") is None:
        yield (
            f"{folder}/config.json: no decoder_start_token_id, from which every answer starts; "
            "write the one that the model was trained with (T5: pad_token_id, BART: eos_token_id) "
            "into the base's config.json, train and merge"
        )


def _room(run: Run, folder: Path) -> Iterator[str]:
    """All weights as float32; the embeddings of a decoder's files are in both, and its head."""
    config: dict[str, Any] = read_json(folder / "config.json") or {}
    kind = str(config.get("dtype") or config.get("torch_dtype"))
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    wanted = weights * FLOAT // _BYTES.get(kind, FLOAT)
    rows = int(config.get("vocab_size") or 0)
    width = int(config.get("d_model") or config.get("hidden_size") or config.get("dim") or 0)
    wanted += 2 * FLOAT * rows * width
    free = shutil.disk_usage(run.path).free
    if wanted > free:
        yield (
            f"{run.path}: the disk has {free / 1e9:.2f} GB, and this takes {wanted / 1e9:.2f} "
            "(float32); make room"
        )
