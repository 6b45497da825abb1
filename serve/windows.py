"""How much a model can read, and how, by its ``config.json`` alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What the families call the number of their positions.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
#: ``model_type`` of encoders with a decoder, and of encoders that fill masks; others are causal.
SEQ2SEQ = frozenset(("t5", "mt5", "umt5", "bart", "mbart"))
ENCODERS = frozenset(
    ("albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "roberta", "xlm-roberta")
)
#: Of those the ones that know no positions, only distances: any length can be read.
_UNBOUNDED = frozenset(("t5", "mt5", "umt5"))
#: And those whose positions begin behind their padding's id.
_SHIFTED = frozenset(("roberta", "xlm-roberta"))


def window(config: Mapping[str, Any]) -> int | None:
    """Most tokens that a model has positions for, its own special tokens counted; None: no limit.

    Args:
        config: a ``config.json``.
    """
    kind = config.get("model_type")
    most = next((config[name] for name in _POSITIONS if config.get(name)), None)
    if kind in _UNBOUNDED or most is None:
        return None
    padding = config.get("pad_token_id")
    return int(most) - (1 if padding is None else padding) - 1 if kind in _SHIFTED else int(most)


def reads_whole(model_dir: Path) -> bool:
    """Whether a folder's model is an encoder, with a decoder or without.

    Few-shot prompts are mostly longer than the 512 tokens of such a model.
    """
    path = model_dir / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return config.get("model_type") in SEQ2SEQ | ENCODERS
