"""A model's architecture in numbers, from its ``config.json``; its matrices, its parameters."""

import json
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe.schema import Architecture

# By our name, what the families of transformers call it.
_NAMES: dict[str, tuple[str, ...]] = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "mlp": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    "vocab": ("vocab_size",),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "window": ("sliding_window",),
}
# Families whose feed-forward part has two matrices.
_UNGATED = (
    *("gpt2", "gpt_neo", "gptj", "gpt_neox", "opt", "bloom", "mpt", "falcon", "persimmon"),
    *("gpt_bigcode", "phi", "stablelm_alpha"),
)


def head_width(arch: Architecture) -> tuple[int, int]:
    """Width of all query heads, and of all key (or value) heads."""
    head = arch.head_dim or arch.hidden // arch.heads
    return head * arch.heads, head * arch.kv_heads


def shapes(arch: Architecture) -> dict[str, tuple[int, int]]:
    """Width of input and output of a layer's linear parts."""
    query, key = head_width(arch)
    hidden, mlp = arch.hidden, arch.mlp
    found = {"q": (hidden, query), "k": (hidden, key), "v": (hidden, key), "o": (query, hidden)}
    found |= {"gate": (hidden, mlp)} if arch.gated else {}
    return found | {"up": (hidden, mlp), "down": (mlp, hidden)}


def linear_parameters(arch: Architecture) -> int:
    """Weights of all layers' linear parts."""
    return arch.layers * sum(wide * out for wide, out in shapes(arch).values())


def embedding_parameters(arch: Architecture) -> int:
    """Weights of embedding and head; the one matrix when they are tied."""
    return arch.vocab * arch.hidden * (1 if arch.tied else 2)


def parameters(arch: Architecture) -> int:
    """All weights, without norms and biases (0.01 % of a 7B model)."""
    return linear_parameters(arch) + embedding_parameters(arch)


def read(path: Path) -> Architecture:
    """The numbers that a ``config.json`` tells.

    Raises:
        UserError: it is none, or lacks some.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error}); give the folder of a whole model") from None
    found = {ours: _first(config, names) for ours, names in _NAMES.items()}
    # GPT-2's n_inner is null as a rule, and four times the width is meant by it.
    found["mlp"] = found["mlp"] or 4 * (found["hidden"] or 0)
    # BigCode's and Falcon's word for one head of keys and values, whatever number stands beside it;
    # Falcon's newer architecture does not heed it.
    single = config.get("multi_query") and not config.get("new_decoder_architecture")
    found["kv_heads"] = 1 if single else found["kv_heads"] or found["heads"]
    missing = [ours for ours in ("hidden", "layers", "vocab", "heads") if not found[ours]]
    if missing:
        raise UserError(f"{path}: tells no {', '.join(missing)}; add model.arch to the recipe")
    return Architecture(
        **{ours: value or 0 for ours, value in found.items()},
        # transformers 4 leaves it out of the file where it is true, its default.
        tied=config.get("tie_word_embeddings", True),
        gated=config.get("model_type") not in _UNGATED,
    )


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if config.get(name)), None)
