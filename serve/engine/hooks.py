"""Our attention in families that do not ask transformers' registry for theirs.

Bloom, Falcon and MPT compute attention within one method, between their own projections; GPT-J and
GPT-Neo have a method for it alone. What is replaced is that method, on the modules of one model;
projections, head layouts and rotary positions stay the family's own code. Linear biases (ALiBi) are
taken from the family's own function, too: each rounds its slopes in its own way. Whether it all
comes out right is asked at load time, see :func:`serve.engine.stepping.self_check`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

#: Has a mask function, unlike the registry's own: MPT calls a method of its mask.
NAME = "oneday-hooked"


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """``[1, heads, T, width]`` each; returns ``[1, T, heads * width]``."""
    layer = module.layer_id if hasattr(module, "layer_id") else module.layer_idx
    output = module.slot_cache.attend(layer, query, (key, value), scale=scale, window=window)
    flat: torch.Tensor = output.flatten(2)
    return flat


def _bloom(
    module: Any, hidden_states: torch.Tensor, residual: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, None]:
    query, key, value = module._reshape(module.query_key_value(hidden_states))
    return module.dense(_attend(module, query, key, value)) + residual, None


def _falcon(
    module: Any, hidden_states: torch.Tensor, position_embeddings: Any = None, **others: Any
) -> tuple[torch.Tensor, None]:
    from transformers.models.falcon.modeling_falcon import apply_rotary_pos_emb

    parts = module._split_heads(module.query_key_value(hidden_states))
    query, key, value = (part.transpose(1, 2) for part in parts)
    if module.new_decoder_architecture:  # every query head has a copy of its key head there
        copies = module.num_heads // module.num_kv_heads
        key, value = key[:, ::copies], value[:, ::copies]
    if others["alibi"] is None:
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    return module.dense(_attend(module, query, key, value)), None


def _mpt(module: Any, hidden_states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
    fused = module.Wqkv(hidden_states)
    if module.clip_qkv:
        fused = fused.clamp(min=-module.clip_qkv, max=module.clip_qkv)
    heads = fused.unflatten(-1, (3, module.n_heads, module.head_dim))
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    return module.out_proj(_attend(module, query, key, value, module.softmax_scale)), None


def _gptj(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any
) -> tuple[torch.Tensor, None]:
    return _headed(_attend(module, query, key, value), query), None


def _gpt_neo(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any
) -> tuple[torch.Tensor, None]:
    """Its scores are not scaled; every other layer sees a window only."""
    window = module.config.window_size if module.attention_type == "local" else None
    return _headed(_attend(module, query, key, value, 1.0, window), query), None


def _headed(output: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """``[1, heads, T, width]``, as the queries are."""
    return output.unflatten(2, (query.shape[1], -1)).transpose(1, 2)


#: Class of the attention: the method that is replaced, and what comes in its place.
_HOOKS: dict[str, tuple[str, Callable[..., tuple[torch.Tensor, None]]]] = {
    "BloomAttention": ("forward", _bloom),
    "FalconAttention": ("forward", _falcon),
    "GPTNeoSelfAttention": ("_attn", _gpt_neo),
    "GPTJAttention": ("_attn", _gptj),
    "MptAttention": ("forward", _mpt),
}


def install(model: PreTrainedModel) -> list[nn.Module]:
    """Replaces the attention of a family that has a hook.

    Returns:
        Its attention modules; none: the model is of another family.
    """
    modules = [module for module in model.modules() if type(module).__name__ in _HOOKS]
    for module in modules:
        method, ours = _HOOKS[type(module).__name__]
        setattr(module, method, partial(ours, module))
    if modules:
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, _no_mask)
        model.config._attn_implementation = NAME
    return modules


def remove(model: PreTrainedModel, own: str) -> bool:
    """Gives a model its own attention back.

    Args:
        model: perhaps one of :func:`install`'s.
        own: what its attention was called.

    Returns:
        Whether it was one.
    """
    modules = [module for module in model.modules() if type(module).__name__ in _HOOKS]
    for module in modules:
        vars(module).pop(_HOOKS[type(module).__name__][0], None)
    if modules:
        model.config._attn_implementation = own
    return bool(modules)


def _no_mask(**_: Any) -> torch.Tensor:
    """Stands for the mask that transformers would make: nobody reads it."""
    return torch.empty(0)


def bias(model: Any, length: int) -> torch.Tensor | None:
    """What is added to scores by the key's place, but for a number that all keys of a row share.

    Args:
        model: any.
        length: places.

    Returns:
        ``[heads, length]`` in float32; None: the model has no linear biases.
    """
    kind = model.config.model_type
    if kind == "mpt":
        base = model.base_model
        one = base.build_mpt_alibi_tensor(base.num_heads, 2, device=model.device)  # [-slope, 0]
        return torch.arange(length, device=model.device) * -one[:, 0, :1].float()
    if kind == "bloom":
        base = model.base_model
        everywhere = torch.ones(1, length, device=model.device)
        table = base.build_alibi_tensor(everywhere, base.num_heads, model.dtype)
        return torch.Tensor(table[:, 0].float())
    return _falcon_bias(model, length) if kind == "falcon" and model.config.alibi else None


def _falcon_bias(model: Any, length: int) -> torch.Tensor:
    """Slopes in bfloat16 whatever the model's type, and scaled as the scores are."""
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    heads = model.config.num_attention_heads
    everywhere = torch.ones(1, length, dtype=torch.long, device=model.device)
    table = build_alibi_tensor(everywhere, heads, model.dtype)
    return torch.Tensor((table[:, 0] / math.sqrt(model.config.hidden_size // heads)).float())
