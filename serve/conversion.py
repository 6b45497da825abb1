"""From a model folder to its tokenizer: ``tokenizer.json``, or what such a file is made of.

The latter imports transformers (seconds, and torch with it), so only folders that need it pay.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from serve.reading import framing

_SPACE_MARK = "\u2581"

#: ``trainer_spec.model_type`` of SentencePiece's BPE models; 1 is unigram.
_BPE = 2


class TokenizerFiles(NamedTuple):
    """What a model folder says of its tokenizer: itself and the texts of its BOS, EOS and mask."""

    tokenizer: Tokenizer
    bos: str | None
    eos: str | None
    mask: str | None = None


def read(model_dir: Path) -> TokenizerFiles:
    """Reads ``tokenizer.json`` or, where there is none, converts what there is.

    Raises:
        FileNotFoundError: the folder has no file of a tokenizer.
        ValueError: transformers cannot convert the tokenizer.
    """
    fast = (model_dir / "tokenizer.json").exists()
    return _fast(model_dir) if fast else convert(model_dir)


def _fast(model_dir: Path) -> TokenizerFiles:
    """The tokenizer of a ``tokenizer.json``, special tokens from ``tokenizer_config.json``."""
    path = model_dir / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    names = ("bos_token", "eos_token", "mask_token")
    return TokenizerFiles(tokenizer, *(_token_text(config, name) for name in names))


def _token_text(config: dict[str, Any], name: str) -> str | None:
    """A special token of ``tokenizer_config.json``: a string, or a dict with its ``content``."""
    token = config.get(name)
    return token["content"] if isinstance(token, dict) else token


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
    made = AutoTokenizer.from_pretrained(model_dir)
    tokenizer = getattr(made, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"{type(made).__name__} cannot be converted to a tokenizer.json")
    if proto and _waits_for_bos(model_dir, proto, tokenizer):
        made = AutoTokenizer.from_pretrained(model_dir, add_bos_token=True)
        tokenizer = made.backend_tokenizer
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


def _waits_for_bos(model_dir: Path, proto: Any, tokenizer: Tokenizer) -> bool:
    """Whether SentencePiece has a BOS, nothing stands around a text, and the folder does not say.

    transformers 4 and the models' own code put it; transformers 5 waits for ``add_bos_token``,
    which takes away what a class itself puts around a text: ALBERT's [CLS] and [SEP]
    (findings/transformers-5.20-add-bos-token-drops-cls-and-sep.sh).
    """
    path = model_dir / "tokenizer_config.json"
    said = path.exists() and "add_bos_token" in json.loads(path.read_text(encoding="utf-8"))
    return not said and proto.trainer_spec.bos_id >= 0 and not any(framing(tokenizer))


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
