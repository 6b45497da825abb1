"""The head of an encoder that tells tokens: one that a base lacks is written once, and learnt.

Transformers draws what a folder lacks at random, anew on each load, and only warns: an adapter
trained beside one such head is of no use with another. So a base without one gets one into its
folder: as near to nothing as it can be (the identity, or the way back from a factorized embedding),
and trained whole (``new_head`` of ``tools.trainers.request``).
"""

import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.console import say
from tools.errors import UserError
from tools.files import digest, read_json, whole_folder, write_json
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Model

_ORIGIN, _HEAD = "origin.json", "new_head"


@dataclass(frozen=True)
class Head:
    """Where a family keeps its head.

    Attributes:
        dense: the layer that turns a hidden state into what is compared with the embeddings.
        norm: the one behind it.
        way_in: the layer that the embeddings come in by where they are narrower; empty: none.
    """

    dense: str
    norm: str
    way_in: str = ""


_BERT = Head("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")
_DEBERTA = Head("lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm")
_ROBERTA = Head("lm_head.dense", "lm_head.layer_norm")
HEADS = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "albert": Head(
        "predictions.dense", "predictions.LayerNorm", "albert.encoder.embedding_hidden_mapping_in"
    ),
    "electra": Head(
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "electra.embeddings_project",
    ),
    "distilbert": Head("vocab_transform", "vocab_layer_norm"),
    "deberta": _DEBERTA,
    "deberta-v2": _DEBERTA,
}
#: Heads of models that were trained to tell true tokens from false ones.
_DISCRIMINATES = ("discriminator_predictions.", "mask_predictions.")


def modules(folder: Path) -> list[str]:
    """The parts of a head that was written into a folder, to be trained whole; else none."""
    origin = read_json(folder / _ORIGIN)
    found = origin.get(_HEAD) if isinstance(origin, dict) else None
    return list(found) if isinstance(found, list) else []


def fault(folder: Path, model: Model) -> str:
    """Why a folder cannot be trained for want of a head; empty when it can."""
    if KINDS[model.kind].parted != "together" or model.head == "new":
        return ""
    names = tensors(folder)
    if not any(name.startswith(_DISCRIMINATES) for name in names):
        return ""
    return (
        f"model.head: {folder} is a discriminator, trained to tell true tokens from false ones; "
        "its body may be trained to answer with a head of its own, which begins knowing nothing: "
        "set model.head=new, or take a generator"
    )


def ready(folder: Path, model: Model, cache: Path) -> Path:
    """The folder itself, or a copy with a head, made on first use.

    Args:
        folder: a model's, of safetensors.
        model: of the recipe.
        cache: where copies are kept.

    Raises:
        UserError: a discriminator whose recipe asks for no new head.
    """
    if KINDS[model.kind].parted != "together":
        return folder
    if said := fault(folder, model):
        raise UserError(said)
    config = read_json(folder / "config.json") or {}
    head = _head(config)
    if head is None or (model.head != "new" and f"{head.dense}.weight" in tensors(folder)):
        return folder
    made = cache / f"{folder.name}-head-{_key(folder)}"
    if not (made / _ORIGIN).is_file():
        _write(folder, made, head)
    return made


def _head(config: dict[str, Any]) -> Head | None:
    """Where the model of a config.json keeps its head; None where that is not known."""
    model_type = str(config.get("model_type", ""))
    if model_type.startswith("deberta") and config.get("legacy", True):
        return _BERT
    return HEADS.get(model_type)


def tensors(folder: Path) -> list[str]:
    """Names of a folder's tensors, from the heads of its files; nothing else of them is read."""
    names: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            names += [name for name in json.loads(file.read(size)) if name != "__metadata__"]
    return names


def _key(folder: Path) -> str:
    states = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.glob("*.safetensors"))
    ]
    return digest([str(folder.absolute()), states])[:12]


def _write(folder: Path, made: Path, head: Head) -> None:
    say(
        f"model: writing a head that tells tokens into a copy of {folder} (once); it will be learnt"
    )
    with whole_folder(made) as copy:
        network = KINDS["encoder"].loader().from_pretrained(folder, dtype="auto")
        _begin(network, head)
        network.save_pretrained(copy)
        for path in folder.iterdir():
            ours = path.suffix in (".json", ".txt", ".model") and path.is_file()
            if ours and not path.name.endswith(".index.json") and not (copy / path.name).exists():
                shutil.copy(path, copy)
        origin = read_json(folder / _ORIGIN)
        origin = origin if isinstance(origin, dict) else {"folder": folder.name}
        write_json(copy / _ORIGIN, {**origin, _HEAD: [head.dense, head.norm]})


def _begin(network: Any, head: Head) -> None:
    """Set a head to change as little as it can."""
    import torch

    dense, norm = network.get_submodule(head.dense), network.get_submodule(head.norm)
    with torch.no_grad():
        if dense.weight.shape[0] == dense.weight.shape[1]:
            dense.weight.copy_(torch.eye(len(dense.weight)))
        else:
            dense.weight.copy_(network.get_submodule(head.way_in).weight.T)
        dense.bias.zero_()
        norm.weight.fill_(1.0)
        norm.bias.zero_()
        output = network.get_output_embeddings()
        if output.bias is not None:
            output.bias.zero_()
