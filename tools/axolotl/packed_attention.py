"""Attention over packed rows from torch's own wheel: no flash-attn, no compiler, windows honoured.

Axolotl's ``attn_implementation: sdpa`` with ``sdpa_varlen: true`` sends packed rows through torch's
variable-length kernel, but not those of a model with a sliding window (0.21.0: Mistral, Qwen2 with
its window on): they go by a mask of the row's length squared. Its own wrapper, put on such a model
all the same, would forget the window in rows of one document. So ours takes its place: every row
without a mask goes document by document, by the kernel where it runs (CUDA, bf16 or fp16, no
dropout) and by plain SDPA elsewhere, where tests see the same masks.
"""

import itertools
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "sdpa"  # Axolotl takes no attention of another name; ours stands where sdpa stood


class Documents:
    """Where the documents of a batch of rows begin and end.

    Args:
        positions: ``[rows, length]`` position ids; each document, and padding, begins at 0.

    Attributes:
        bounds: ``[documents + 1]`` int32, places in the flattened batch; no document crosses a row.
        longest: tokens of the longest document.
    """

    def __init__(self, positions: torch.Tensor) -> None:
        rows, length = positions.shape
        starts = positions == 0
        starts[:, 0] = True  # a row is nobody else's continuation
        first = starts.flatten().nonzero()[:, 0]
        end = torch.tensor([rows * length], device=first.device)
        self.bounds = torch.cat([first, end]).to(torch.int32)
        self.longest = int(self.bounds.diff().max())
        self._places: list[int] = []

    @property
    def places(self) -> list[int]:
        """The bounds on the host; asked for once, as it waits for the card."""
        self._places = self._places or self.bounds.tolist()
        return self._places


class Packed:
    """What transformers' models call in place of ``sdpa``.

    Args:
        original: transformers' own, for rows with a mask.
    """

    def __init__(self, original: Any) -> None:
        self._original = original
        self._seen: torch.Tensor | None = None
        self.used = False
        self._documents: Documents

    def __call__(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, None]:
        """``[rows, heads, length, width]`` queries to ``[rows, length, heads, width]``."""
        positions = others.get("position_ids")
        grows = key.shape[2] != query.shape[2]  # a cache of earlier tokens: not a training
        if attention_mask is not None or positions is None or grows:
            how = {"dropout": dropout, "scaling": scaling, "sliding_window": sliding_window}
            made: tuple[torch.Tensor, None] = self._original(
                module, query, key, value, attention_mask, **how, **others
            )
            return made
        self.used = True
        documents = self._find(positions.expand(query.shape[0], -1))
        attend = _by_kernel if not dropout and _runs_on(query) else _one_by_one
        asking, keys, values = (one.transpose(1, 2).flatten(0, 1) for one in (query, key, value))
        output = attend(asking, keys, values, documents, scaling, sliding_window, dropout)
        return output.view(query.shape[0], query.shape[2], query.shape[1], -1), None

    def _find(self, positions: torch.Tensor) -> Documents:
        """The documents, found once a batch: it takes a wait for the card, and layers are many."""
        if (
            self._seen is None
            or self._seen.data_ptr() != positions.data_ptr()
            or self._seen.shape != positions.shape
        ):
            self._documents = Documents(positions)
        self._seen = positions  # held, so that no other batch gets its address
        return self._documents


def _runs_on(query: torch.Tensor) -> bool:
    """Whether torch's kernel takes it: FlashAttention needs an Ampere card and 16 bits."""
    if not query.is_cuda or query.dtype not in (torch.bfloat16, torch.float16):
        return False
    return torch.cuda.get_device_capability(query.device) >= (8, 0)


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    window: int | None,
    dropout: float,
) -> torch.Tensor:
    """Torch's FlashAttention of variable length; ``[tokens, heads, width]``."""
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = documents.bounds, documents.longest
    made: torch.Tensor = varlen_attn(
        query, key, value, bounds, bounds, longest, longest, scale=scaling,
        window_size=(window - 1 if window else -1, 0),  # keys to the left, itself not counted
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return made


def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scaling: float | None,
    window: int | None,
    dropout: float,
) -> torch.Tensor:
    """The same by plain SDPA, a call a document."""
    parts = []
    for start, stop in itertools.pairwise(documents.places):
        one, its, theirs = (
            tensor[start:stop].transpose(0, 1)[None] for tensor in (query, key, value)
        )
        mask = _window_mask(stop - start, window, query.device) if window else None
        made = scaled_dot_product_attention(
            one,
            its,
            theirs,
            attn_mask=mask,
            is_causal=mask is None,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(made[0].transpose(0, 1))
    return torch.cat(parts)


def _window_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """``[length, length]``: True where a token sees a key, the ``window`` newest and itself one."""
    place = torch.arange(length, device=device)
    back = place[:, None] - place
    return (back >= 0) & (back < window)


def unused() -> bool:
    """Whether it stands in the place of ``sdpa`` and no packed row came by it.

    A model whose attention does not ask the registry (Falcon's), or not with the positions
    (Persimmon's), takes the mask that is left out, and then sees the whole pack.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ours = ALL_ATTENTION_FUNCTIONS[NAME]
    return isinstance(ours, Packed) and not ours.used


def install() -> None:
    """Put it in the place of transformers' ``sdpa``, and leave rows without a mask without one."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if isinstance(ALL_ATTENTION_FUNCTIONS[NAME], Packed):
        return
    plain = ALL_MASK_ATTENTION_FUNCTIONS[NAME]

    def mask(*args: Any, **kwargs: Any) -> Any:
        return None if kwargs.get("attention_mask") is None else plain(*args, **kwargs)

    ALL_ATTENTION_FUNCTIONS.register(NAME, Packed(ALL_ATTENTION_FUNCTIONS[NAME]))
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, mask)
