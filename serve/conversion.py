"""Slow tokenizers: from a folder without ``tokenizer.json`` to the tokenizer of such a file.

Imports transformers (seconds, and torch with it), so only folders that need it pay for it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

_SPACE_MARK = "\u2581"

#: ``trainer_spec.model_type`` of SentencePiece's BPE models; 1 is unigram.
_BPE = 2


class TokenizerFiles(NamedTuple):
    """What a model folder says of its tokenizer: itself and the texts of its BOS, EOS and mask."""

    tokenizer: Tokenizer
    bos: str | None
    eos: str | None
    mask: str | None = None


def convert(model_dir: Path) -> TokenizerFiles:
    """Reads SentencePiece's ``*.model``, or ``vocab.json`` and ``merges.txt``.

    Raises:
        FileNotFoundError: the folder has neither.
        ValueError: transformers cannot convert the tokenizer.
    """
    models = sorted(model_dir.glob("*.model"))
    if not models and not (model_dir / "vocab.json").exists():
        raise FileNotFoundError(f"no tokenizer.json, *.model or vocab.json in {model_dir}")
    from transformers import AutoTokenizer

    proto = _sentencepiece(models[0]) if models else None
    made = AutoTokenizer.from_pretrained(model_dir, **_bos_option(model_dir, proto))
    tokenizer = getattr(made, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"{type(made).__name__} cannot be converted to a tokenizer.json")
    if proto:
        tokenizer = _as_sentencepiece(tokenizer, proto)
    return TokenizerFiles(tokenizer, made.bos_token, made.eos_token, made.mask_token)


def _sentencepiece(path: Path) -> Any:
    """The protocol buffer of a SentencePiece model."""
    # transformers' reader takes the same copy; a second one would clash with it in protobuf.
    from sentencepiece import sentencepiece_model_pb2 as compiled

    proto: Any = compiled.ModelProto()  # type: ignore[attr-defined]  # made at run time
    proto.ParseFromString(path.read_bytes())
    return proto


def _bos_option(model_dir: Path, proto: Any) -> dict[str, bool]:
    """BOS in front of prompts where SentencePiece has one and the folder does not say.

    transformers 4 and the models' own code put it; transformers 5 waits for ``add_bos_token``.
    """
    path = model_dir / "tokenizer_config.json"
    said = path.exists() and "add_bos_token" in json.loads(path.read_text(encoding="utf-8"))
    return {} if said or not proto else {"add_bos_token": proto.trainer_spec.bos_id >= 0}


def _as_sentencepiece(tokenizer: Tokenizer, proto: Any) -> Tokenizer:
    """Puts right what transformers 5.20.1 gets wrong, so that ids are SentencePiece's own.

    It orders merges by id where SentencePiece goes by score (runs of spaces come out otherwise),
    and forgets the space before a text for classes that it knows from a tokenizer.json only, such
    as Mistral's.
    """
    from transformers.tokenization_utils_base import generate_merges

    state = json.loads(tokenizer.to_str())
    if proto.trainer_spec.model_type == _BPE:
        scores = {piece.piece: piece.score for piece in proto.pieces}
        state["model"]["merges"] = generate_merges(state["model"]["vocab"], scores)
    first = tokenizer.encode("a", add_special_tokens=False).tokens[0]
    if proto.normalizer_spec.add_dummy_prefix and not first.startswith(_SPACE_MARK):
        steps = [{"type": "Prepend", "prepend": _SPACE_MARK}, state["normalizer"]]
        state["normalizer"] = {"type": "Sequence", "normalizers": [step for step in steps if step]}
    return Tokenizer.from_str(json.dumps(state))
