"""What a base's tokenizer says before anything is trained: its files, and the tokens we need."""

import json
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Model

_CALLED = ("[MASK]", "<mask>")  # a mask where no file names it
_FILES = ("tokenizer.json", "*.model", "vocab.json", "vocab.txt")


def special_ids(folder: Path, model: Model) -> dict[str, Any]:
    """Ids of the tokens that are put around prompts and answers in training.

    Args:
        folder: of the base, with its ``tokenizer.json``.
        model: of the recipe, which names what ends an answer and what pads.

    Returns:
        ``end`` and ``pad``, and ``mask`` where the kind's answers stand at one; ``trail``, a list,
        is what the tokenizer puts behind a text.

    Raises:
        UserError: every one of them that is no token.
    """
    names, vocabulary = _names(folder, model), entries(folder)
    if faults := faults_of(folder, model):
        raise UserError(faults)
    ids: dict[str, Any] = {name: vocabulary[token] for name, token in names.items()}
    return {**ids, "trail": _trail(folder)}


def faults_of(folder: Path, model: Model) -> list[str]:
    """What is wrong with the tokenizer of a folder, a line each."""
    if not any(True for form in _FILES for _ in folder.glob(form)):
        return [
            f"model: {folder} holds no vocabulary ({', '.join(_FILES)}); fetch the whole folder "
            "of the model"
        ]
    vocabulary = entries(folder)
    if not vocabulary:  # of a slow tokenizer: whoever converts it tells
        return []
    found = []
    for name, token in _names(folder, model).items():
        if token and token in vocabulary:
            continue
        if name == "mask":
            found.append(
                f"model: {folder}: its vocabulary has no mask token, so nothing can be asked of "
                "it; take a model that was trained to fill masks"
            )
        else:
            key = {"end": "model.eos", "pad": "model.pad"}[name]
            found.append(f"{key} {token} is no token of {folder}{nearest(token, vocabulary)}")
    return found


def entries(folder: Path) -> dict[str, int]:
    """Ids of a folder's tokens by their text, added ones, too; empty without a tokenizer.json."""
    read = read_json(folder / "tokenizer.json")
    if not isinstance(read, dict):
        return {}
    part = read.get("model")
    told = part.get("vocab") if isinstance(part, dict) else None
    # A Unigram's is a list of pieces with their scores, in the order of their ids.
    pairs = told.items() if isinstance(told, dict) else _numbered(told)
    found = {str(text): int(number) for text, number in pairs}
    for token in read.get("added_tokens") or ():
        found[str(token["content"])] = int(token["id"])
    return found


def lowers(folder: Path) -> bool:
    """Whether a folder's tokenizer makes all letters small before it reads them."""
    read = read_json(folder / "tokenizer.json")
    steps = json.dumps(read.get("normalizer")) if isinstance(read, dict) else ""
    return '"type": "Lowercase"' in steps or '"lowercase": true' in steps


def _trail(folder: Path) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()  # both may be kept in its file, by whoever trained with it
    tokenizer.no_truncation()
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    framed = tokenizer.encode("a").ids
    return list(framed[framed.index(bare[-1]) + 1 :])


def _numbered(pieces: Any) -> list[tuple[str, int]]:
    if not isinstance(pieces, list):
        return []
    return [(str(piece[0]), number) for number, piece in enumerate(pieces)]


def _names(folder: Path, model: Model) -> dict[str, str]:
    """The tokens' texts."""
    names = {"end": model.eos, "pad": model.pad}
    if KINDS[model.kind].parted == "together":
        names["mask"] = _mask(folder)
    return names


def _mask(folder: Path) -> str:
    """The mask's text as the folder names it; of the usual ones that which it has, else empty."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        read = read_json(folder / file)
        told = read.get("mask_token") if isinstance(read, dict) else None
        if text := told.get("content") if isinstance(told, dict) else told:
            return str(text)
    known = entries(folder)
    return next((text for text in _CALLED if text in known), "")
