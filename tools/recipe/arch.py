"""A model's architecture in numbers, from its ``config.json``; its matrices, its parameters."""

import json
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.recipe import stacks
from tools.recipe.kinds import kind_of
from tools.recipe.schema import Architecture

#: How a ``config.json`` tells how many experts there are (Mixtral, gpt-oss and Qwen3; Qwen2;
#: DeepSeek).
COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
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
    "experts": COUNTS,
    "experts_used": ("num_experts_per_tok",),
    "shared_mlp": ("shared_expert_intermediate_size",),
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
    """Width of input and output of a layer's linear parts, without experts: those are none.

    transformers 5 holds all experts of a layer in two tensors, which neither bitsandbytes nor LoRA
    on layers sees. With an encoder: of all layers, by number.
    """
    if arch.encoder:
        listed = enumerate(stacks.linears(arch))
        return {f"{one.name} {number}": (one.wide, one.out) for number, one in listed}
    query, key = head_width(arch)
    hidden, mlp = arch.hidden, arch.shared_mlp if arch.experts else arch.mlp
    found = {"q": (hidden, query), "k": (hidden, key), "v": (hidden, key), "o": (query, hidden)}
    if not mlp:
        return found
    found |= {"gate": (hidden, mlp)} if arch.gated else {}
    return found | {"up": (hidden, mlp), "down": (mlp, hidden)}


def mlp_width(arch: Architecture) -> int:
    """Inner width of all feed-forward parts that a token goes through in a layer."""
    return arch.experts_used * arch.mlp + arch.shared_mlp if arch.experts else arch.mlp


def linear_parameters(arch: Architecture) -> int:
    """Weights of all layers' linear parts."""
    if arch.encoder:
        return sum(one.weights for one in stacks.linears(arch))
    return arch.layers * sum(wide * out for wide, out in shapes(arch).values())


def expert_parameters(arch: Architecture) -> int:
    """Weights of all layers' experts, and of what chooses among them."""
    return arch.layers * (arch.experts * _expert(arch) + arch.experts * arch.hidden)


def active_parameters(arch: Architecture) -> int:
    """Weights that a token goes through in all layers; without experts the linear parts."""
    if arch.encoder:  # ALBERT's one layer as often as it is computed
        return sum(one.computed * one.wide * one.out for one in stacks.linears(arch))
    chosen = arch.experts_used * _expert(arch) + arch.experts * arch.hidden
    return linear_parameters(arch) + arch.layers * chosen


def _expert(arch: Architecture) -> int:
    """Weights of one expert."""
    return (3 if arch.gated else 2) * arch.hidden * arch.mlp


def embedding_parameters(arch: Architecture) -> int:
    """Weights of embedding and head; the one matrix when they are tied."""
    if arch.encoder:
        return stacks.embedding_parameters(arch)
    return arch.vocab * arch.hidden * (1 if arch.tied else 2)


def packed_parameters(arch: Architecture) -> int:
    """Weights that bitsandbytes packs."""
    return stacks.packed(arch) if arch.encoder else linear_parameters(arch)


def parameters(arch: Architecture) -> int:
    """All weights; of decoders without norms and biases (0.01 % of a 7B model)."""
    if arch.encoder:
        return stacks.parameters(arch)
    return linear_parameters(arch) + expert_parameters(arch) + embedding_parameters(arch)


def read(path: Path) -> Architecture:
    """The numbers that a ``config.json`` tells.

    Raises:
        UserError: it is none, or lacks some.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: no JSON ({error}); give the folder of a whole model") from None
    if not isinstance(config, dict):
        config = {}
    if kind_of(str(config.get("model_type", ""))).parted:
        found = stacks.numbers(config)
        _demand(path, found, ["hidden", "layers", "mlp", "vocab", "heads"])
        return Architecture(**found)
    return _read_decoder(path, config)


def _read_decoder(path: Path, config: dict[str, Any]) -> Architecture:
    found: dict[str, Any] = {ours: _first(config, names) for ours, names in _NAMES.items()}
    if found["experts"]:
        _demand_alike(path, config)
        found["mlp"] = config.get("moe_intermediate_size") or found["mlp"]
    else:
        found["experts_used"] = found["shared_mlp"] = 0
    # GPT-2's n_inner is null as a rule, and four times the width is meant by it.
    found["mlp"] = found["mlp"] or 4 * (found["hidden"] or 0)
    # BigCode's and Falcon's word for one head of keys and values, whatever number stands beside it;
    # Falcon's newer architecture does not heed it.
    single = config.get("multi_query") and not config.get("new_decoder_architecture")
    found["kv_heads"] = 1 if single else found["kv_heads"] or found["heads"]
    if config.get("use_sliding_window") is False:  # Qwen's: the width beside it is not used
        found["window"] = None
    needed = ["hidden", "layers", "vocab", "heads", *(["experts_used"] if found["experts"] else [])]
    _demand(path, found, needed)
    plain: dict[str, Any] = {ours: value or 0 for ours, value in found.items()}
    return Architecture(
        **plain,
        # transformers 4 leaves it out of the file where it is true, its default.
        tied=config.get("tie_word_embeddings", True),
        gated=config.get("model_type") not in _UNGATED,
    )


def _demand(path: Path, found: dict[str, Any], needed: list[str]) -> None:
    missing = [ours for ours in needed if not found[ours]]
    if missing:
        raise UserError(f"{path}: tells no {', '.join(missing)}; add model.arch to the recipe")


def _demand_alike(path: Path, config: dict[str, Any]) -> None:
    """All layers have experts; of others our numbers know no mixture."""
    kinds = {
        "mlp_only_layers": config.get("mlp_only_layers"),
        "decoder_sparse_step": (config.get("decoder_sparse_step") or 1) > 1,
        "first_k_dense_replace": config.get("first_k_dense_replace"),
    }
    if other := next((key for key, value in kinds.items() if value), None):
        raise UserError(
            f"{path}: {other}: only some of its layers have experts, which cannot be planned for; "
            "add model.arch with the mean of its layers, or take another base"
        )


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((config[name] for name in names if config.get(name)), None)
