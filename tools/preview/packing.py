"""How full the sequences are that a training step computes: rows packed, or padded to one length.

Packs are filled as Axolotl 0.21.0 fills them (``axolotl.utils.samplers.multipack``): the first with
room takes a row, in groups of rows; in the order of the file where ``data.order`` says one. It
shuffles rows otherwise than we do, so the number is near its own, not the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tools.recipe.schema import Recipe

GROUP, MOST = 100_000, 200  # Axolotl's defaults: rows packed at a time, and rows of a pack
_MEGABATCH = 50  # batches that transformers sorts by length at a time


@dataclass(frozen=True)
class Packing:
    """What an epoch computes.

    Attributes:
        batches: forward passes, of all cards.
        tokens: of rows.
        slots: tokens that are computed, padding included.
        how: rows come together, in words.
        steps: optimizer steps of the whole training, as far as its rows decide.
    """

    batches: int
    tokens: int
    slots: int
    how: str
    steps: int

    @property
    def efficiency(self) -> float:
        """Share of what is computed that is rows, 0 to 1."""
        return self.tokens / max(self.slots, 1)


def packing(lengths: Sequence[int], recipe: Recipe) -> Packing:
    """How the rows of a recipe come together.

    Args:
        lengths: tokens of each row that is trained on, in order, none over ``train.sequence_len``.
        recipe: its ``train`` section decides.
    """
    train, size = recipe.train, recipe.train.get("micro_batch_size") or 1
    limit = sequence_len(train)
    if train.get("sample_packing"):
        batches, slots, how = _packed(lengths, recipe, limit, size)
    elif train.get("pad_to_sequence_len"):
        batches, slots = math.ceil(len(lengths) / size), len(lengths) * limit
        how = f"rows padded to {limit:,} tokens"
    else:
        batches, slots, how = _padded(lengths, bool(train.get("group_by_length")), size)
    accumulation = train.get("gradient_accumulation_steps") or 1
    if train.get("batch_size"):
        accumulation = max(train["batch_size"] // size, 1)
    a_step = math.ceil(batches / max(accumulation * recipe.hardware.gpus, 1))
    steps = math.ceil(a_step * (train.get("num_epochs") or 1))
    if (most := train.get("max_steps") or 0) > 0:
        steps = int(most)
    return Packing(batches, sum(lengths), slots, how, steps)


def sequence_len(train: dict[str, object]) -> int:
    """Tokens of the longest row that is trained on."""
    return int(train.get("sequence_len") or 512)  # type: ignore[call-overload]  # Axolotl's default


def _packed(lengths: Sequence[int], recipe: Recipe, limit: int, size: int) -> tuple[int, int, str]:
    train = recipe.train
    real = bool(train.get("multipack_real_batches"))
    capacity = limit if real else limit * size
    most = train.get("sample_packing_bin_size") or MOST
    in_order = recipe.data.order != "shuffled" or train.get("sample_packing_sequentially")
    if in_order:
        packs = _in_order(lengths, capacity)
    else:
        group = train.get("sample_packing_group_size") or GROUP
        parts = (lengths[at : at + group] for at in range(0, len(lengths), group))
        packs = sum(_first_fit(part, capacity, most) for part in parts)
    batches = math.ceil(packs / size) if real else packs
    return batches, packs * capacity, f"packs of {capacity:,} tokens"


def _first_fit(lengths: Sequence[int], capacity: int, most: int) -> int:
    """How many packs there are when the first with room takes each row."""
    import numpy as np

    room = np.zeros(len(lengths), dtype=np.int64)
    count = np.zeros(len(lengths), dtype=np.int64)
    first = packs = 0  # packs before the first are full
    for length in lengths:
        free = room[first:packs] >= length
        at = first + int(free.argmax()) if free.size else packs
        if at == packs or not free[at - first]:
            at, packs = packs, packs + 1
            room[at] = capacity
        room[at] -= length
        count[at] += 1
        if count[at] >= most:
            room[at] = 0
        while first < packs and room[first] == 0:
            first += 1
    return packs


def _in_order(lengths: Sequence[int], capacity: int) -> int:
    """How many packs there are when a row that no longer fits begins the next."""
    packs, room = 0, 0
    for length in lengths:
        if length > room:
            packs, room = packs + 1, capacity
        room -= length
    return packs


def _padded(lengths: Sequence[int], grouped: bool, size: int) -> tuple[int, int, str]:
    """Batches whose rows are padded to the longest of them."""
    rows = list(lengths)
    if grouped:
        part = size * _MEGABATCH
        parts = (rows[at : at + part] for at in range(0, len(rows), part))
        rows = [length for some in parts for length in sorted(some, reverse=True)]
    batches = [rows[at : at + size] for at in range(0, len(rows), size)]
    slots = sum(max(batch) * len(batch) for batch in batches)
    words = ", rows of one length side by side" if grouped else ""
    return len(batches), slots, f"batches of {size} padded to their longest row{words}"
