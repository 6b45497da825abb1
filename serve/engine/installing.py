"""How our attention gets into a model, and what it learns there.

transformers lets a model's attention be replaced by a function (its ``AttentionInterface``). The
families that do not ask for it have hooks, see :mod:`serve.engine.hooks`.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from serve.engine import hooks
from serve.engine.attention import SlotCache, Unsupported

NAME = "oneday"


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' models call; the cache hangs on the attention module itself."""
    unknown = [name for name in ("s_aux", "position_bias") if others.get(name)]
    if unknown or attention_mask is not None:
        raise Unsupported(f"attention with {', '.join(unknown) or 'a mask of its own'}")
    cache: SlotCache | _Probe = module.slot_cache
    how = {"scale": scaling, "window": sliding_window, "cap": softcap}
    return cache.attend(module.layer_idx, query, (key, value), **how), None


class _Probe:
    """Stands in for the cache once, to learn what one token's keys and values look like."""

    def __init__(self) -> None:
        self.shapes: dict[int, tuple[int, int, int]] = {}

    def attend(
        self, layer: int, query: torch.Tensor, new: tuple[torch.Tensor, torch.Tensor], **_: Any
    ) -> torch.Tensor:
        key, value = new
        self.shapes[layer] = (key.shape[1], key.shape[3], value.shape[3])
        rows = query[0].transpose(0, 1)
        # Any numbers do: only the shape is looked at by what comes after.
        return rows[..., :1].expand(*rows.shape[:2], value.shape[3])[None]


def install(model: PreTrainedModel) -> list[nn.Module]:
    """Makes the model's attention ours.

    Returns:
        Its attention modules.

    Raises:
        Unsupported: it does not take another attention.
    """
    if hooked := hooks.install(model):
        return hooked
    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
    modules = [m for m in model.modules() if hasattr(m, "layer_idx") and hasattr(m, "is_causal")]
    if not modules:
        raise Unsupported("the model's attention layers are not of transformers' present form")
    # No mask function has that name, so transformers makes no masks of its own.
    model.set_attn_implementation(NAME)
    return modules


def uninstall(model: PreTrainedModel, own: str) -> None:
    """Gives the model its own attention back, which is called ``own``."""
    if not hooks.remove(model, own):
        model.set_attn_implementation(own)


@torch.inference_mode()
def probe(model: Any, modules: list[nn.Module]) -> list[tuple[int, int, int]]:
    """What one token's keys and values look like in each layer, see :class:`SlotCache`.

    Raises:
        Unsupported: not every layer asked for attention.
    """
    found = _Probe()
    use(modules, found)
    ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model(input_ids=ids, position_ids=ids, use_cache=False)
    if sorted(found.shapes) != list(range(len(modules))):
        raise Unsupported("some layers keep no keys and values")
    return [found.shapes[layer] for layer in range(len(modules))]


def use(modules: list[nn.Module], cache: SlotCache | _Probe) -> None:
    """Hangs the cache on the attention modules."""
    for module in modules:
        object.__setattr__(module, "slot_cache", cache)
