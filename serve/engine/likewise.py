"""Sequences of different lengths, side by side: which go together, and how they are padded."""

from collections.abc import Sequence

import torch

#: Most places, padding included, of one pass over whole sequences: more is not faster a token.
PLACES = 4096

#: Padding that is cheaper than one more pass, in places.
WORTH = 128


def alike(lengths: Sequence[int], most: int = PLACES) -> list[list[int]]:
    """Parts sequences into groups of like length.

    Args:
        lengths: of each.
        most: places of a group, unless one sequence alone has more.

    Returns:
        Groups of indices; within each the longest is last, and at most a quarter, or little, is
        padding.
    """
    groups: list[list[int]] = []
    tokens = 0  # of the last group
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        places = (len(groups[-1]) + 1) * padded(lengths[index]) if groups else 0
        padding = places - tokens - lengths[index]
        if not groups or places > most or padding > WORTH + places // 4:
            groups.append([])
            tokens = 0
        groups[-1].append(index)
        tokens += lengths[index]
    return groups


def padded(length: int) -> int:
    """Up to a multiple of 8: oneDNN makes and keeps code for every number of rows."""
    return (length + 7) // 8 * 8


def stack(
    sequences: Sequence[Sequence[int]], padding: int, most: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of several sequences as one matrix.

    Args:
        sequences: of ids.
        padding: id that fills the shorter ones up, on the right.
        most: longest that the model takes.
        device: where they are wanted.

    Returns:
        ``[sequences, longest]`` twice: the ids, and 1 where there is one, else 0.
    """
    longest = min(padded(max(map(len, sequences))), most)
    ids = torch.full((len(sequences), longest), padding)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)
