"""All pairs of sets that are alike, exactly: a set-similarity join with a prefix filter.

Two sets have a Jaccard similarity of at least t only when they share a member among their first
``n - ceil(t * n) + 1``, all members ordered the same way (Chaudhuri, Ganti and Kaushik 2006;
Bayardo, Ma and Srikant 2007). Ordered from rare to common, most sets have members of their own
there and are done with at once; what is left is compared in full, so nothing is missed or guessed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tools.curate.hashing import Array, expand

_TABLE = 24  # bits: cells that members are counted in, at most
_PAIRS = 2**20  # made at a time
_COMPARED = 2**17  # at a time: a pair takes a kilobyte
_MANY = 64  # candidates a set; with more, sets are taken one by one
_ALMOST = 1e-9  # 0.8 * 5 is 4.000000000000001 to a computer


@dataclass(frozen=True)
class Alike:
    """Pairs of sets.

    Attributes:
        one: (pairs) int64, the set that comes first.
        other: (pairs) int64.
        share: (pairs) float64, their Jaccard similarity: members of both over members of either.
    """

    one: Array
    other: Array
    share: Array


@dataclass(frozen=True)
class _Sets:
    """Sets in order: members from rare to common.

    Attributes:
        members: (all members) uint64, small numbers that stand for hashes; the rarer the smaller.
        ends: (sets + 1) int64.
        numbers: (sets) int64, which set of the caller's each is.
        first_shared: members below this are of one set alone.
    """

    members: Array
    ends: Array
    numbers: Array
    first_shared: int

    @property
    def sizes(self) -> Array:
        return np.diff(self.ends)


def alike(members: Array, ends: Array, threshold: float) -> Alike:
    """Pairs of sets with at least this Jaccard similarity, enough of them to tell who must leave.

    Whoever goes through the sets in order and drops each that has a twin among those kept, finds
    all these twins here. Left out are pairs that change nothing there: a set that equals an earlier
    one is paired with the first such alone; and where very many sets are alike, sets without an
    earlier twin are kept, and each of the others is paired with one of these.

    Args:
        members: (members) uint64, hashes; one that comes twice in a set counts once.
        ends: (sets + 1) int64: set i has ``members[ends[i]:ends[i + 1]]``. Empty sets have no pair.
        threshold: above 0, at most 1.
    """
    sets = _ordered(members, ends, _likely(members, ends, threshold))
    same, sets = _equal(sets)
    found = [same, *_compared(sets, threshold)]
    one, other = (
        np.concatenate([getattr(part, key) for part in found]) for key in ("one", "other")
    )
    share = np.concatenate([part.share for part in found])
    order = np.lexsort((one, other))
    return Alike(one[order], other[order], share[order])


def prefix(sizes: Array, threshold: float) -> Array:
    """How many of a set's first members a twin must share one of; (sets) int64."""
    needed = np.ceil(threshold * sizes - _ALMOST).astype(np.int64)
    return np.where(sizes > 0, sizes - needed + 1, 0)


def _likely(members: Array, ends: Array, threshold: float) -> Array:
    """Numbers of the sets that may have a twin: too few members are theirs alone."""
    bits = min(max(len(members).bit_length(), 10), _TABLE)
    cells = (members >> np.uint64(64 - bits)).astype(np.int32)
    uses = np.minimum(np.bincount(cells, minlength=2**bits), 2).astype(np.uint8)
    # Of two members in one cell both count as shared: too careful, never wrong.
    alone = np.zeros(len(members) + 1, dtype=np.int32)
    np.cumsum(uses[cells] == 1, out=alone[1:])
    own = alone[ends[1:]] - alone[ends[:-1]]
    return np.flatnonzero(own < prefix(np.diff(ends), threshold))


def _ordered(members: Array, ends: Array, numbers: Array) -> _Sets:
    """Some of the sets, each member once, from rare to common."""
    counts = (ends[1:] - ends[:-1])[numbers]
    hashed = members[expand(ends[:-1][numbers], counts)]
    owner = np.repeat(np.arange(len(numbers)), counts)
    order = np.argsort(hashed, kind="stable")
    hashed, owner = hashed[order], owner[order]
    new = np.append(True, hashed[1:] != hashed[:-1])[: len(hashed)]
    once = new | np.append(True, owner[1:] != owner[:-1])[: len(owner)]
    owner, group = owner[once], np.cumsum(new)[once] - 1
    uses = np.bincount(group, minlength=1)
    rank = np.empty(len(uses), dtype=np.uint64)
    rank[np.argsort(uses, kind="stable")] = np.arange(len(uses), dtype=np.uint64)
    keys = np.sort((owner.astype(np.uint64) << np.uint64(32)) | rank[group])
    sizes = np.bincount(owner, minlength=len(numbers))
    return _Sets(
        keys & np.uint64(0xFFFFFFFF),
        np.append(0, np.cumsum(sizes)),
        numbers,
        int((uses == 1).sum()),
    )


def _equal(sets: _Sets) -> tuple[Alike, _Sets]:
    """Pairs of equal sets, and the sets without those that equal an earlier one."""
    keys: dict[bytes, int] = {}
    first = np.array(
        [
            keys.setdefault(sets.members[start:stop].tobytes(), number)
            for number, (start, stop) in enumerate(
                zip(sets.ends[:-1].tolist(), sets.ends[1:].tolist(), strict=True)
            )
        ],
        dtype=np.int64,
    )
    twin = np.flatnonzero(first != np.arange(len(first)))
    pairs = Alike(sets.numbers[first[twin]], sets.numbers[twin], np.ones(len(twin)))
    left = np.flatnonzero(first == np.arange(len(first)))
    members = sets.members[expand(sets.ends[left], sets.sizes[left])]
    ends = np.append(0, np.cumsum(sets.sizes[left]))
    return pairs, _Sets(members, ends, sets.numbers[left], sets.first_shared)


@dataclass(frozen=True)
class _Postings:
    """Which sets have a member in their prefix, and behind each entry those that may be its twin.

    Attributes:
        owner: (entries) int64, the set; by member, smaller sets first.
        counts: (entries) int64, how many entries behind each are not too large to be its twin.
    """

    owner: Array
    counts: Array


def _compared(sets: _Sets, threshold: float) -> Iterator[Alike]:
    """Pairs of different sets."""
    postings = _postings(sets, threshold)
    if postings.counts.sum() > _MANY * max(len(sets.numbers), 1000):
        yield _one_by_one(sets, threshold)
        return
    keys = [np.zeros(0, dtype=np.uint64)]
    for one, other in _candidates(postings):
        keys.append(np.unique((one.astype(np.uint64) << np.uint64(32)) | other.astype(np.uint64)))
    pairs = np.unique(np.concatenate(keys))
    for start in range(0, len(pairs), _COMPARED):
        part = pairs[start : start + _COMPARED]
        low = (part >> np.uint64(32)).astype(np.int64)
        high = (part & np.uint64(0xFFFFFFFF)).astype(np.int64)
        share = _shares(sets, low, high)
        near = share >= threshold - _ALMOST
        yield Alike(sets.numbers[low[near]], sets.numbers[high[near]], share[near])


def _postings(sets: _Sets, threshold: float) -> _Postings:
    sizes, lengths = sets.sizes, prefix(sets.sizes, threshold)
    at = expand(sets.ends[:-1], lengths)
    owner = np.repeat(np.arange(len(sizes)), lengths)
    shared = sets.members[at] >= np.uint64(sets.first_shared)
    member, owner = sets.members[at][shared].astype(np.int64), owner[shared]
    order = np.lexsort((owner, sizes[owner], member))
    member, owner = member[order], owner[order]
    width = int(sizes.max(initial=0)) + 1
    largest = np.minimum(np.floor(sizes[owner] / threshold + _ALMOST), width - 1).astype(np.int64)
    last = np.searchsorted(member * width + sizes[owner], member * width + largest, side="right")
    return _Postings(owner, last - np.arange(len(owner)) - 1)


def _candidates(postings: _Postings) -> Iterator[tuple[Array, Array]]:
    """Pairs of sets that have a member of their prefixes in common, some at a time."""
    owner, counts = postings.owner, postings.counts
    start = 0
    while start < len(counts):
        total = np.cumsum(counts[start : start + _PAIRS])
        stop = start + max(int(np.searchsorted(total, _PAIRS, side="right")), 1)
        part = counts[start:stop]
        one = owner[np.repeat(np.arange(start, stop), part)]
        other = owner[expand(np.arange(start, stop) + 1, part)]
        yield np.minimum(one, other), np.maximum(one, other)
        start = stop


def _one_by_one(sets: _Sets, threshold: float) -> Alike:
    """Each set that has a twin among those kept before it, with that twin.

    Where thousands are alike, there are millions of pairs; but of these sets one is kept.
    """
    lengths = prefix(sets.sizes, threshold).tolist()
    index: dict[int, list[int]] = {}
    kept: dict[int, frozenset[int]] = {}
    pairs: list[tuple[int, int, float]] = []
    ends = sets.ends.tolist()
    for number, length in enumerate(lengths):
        members = sets.members[ends[number] : ends[number + 1]].tolist()
        first, own = members[:length], frozenset(members)
        twin = _twin(
            own, {one for member in first for one in index.get(member, ())}, kept, threshold
        )
        if twin:
            pairs.append((twin[0], number, twin[1]))
            continue
        kept[number] = own
        for member in first:
            index.setdefault(member, []).append(number)
    one, other = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    return Alike(sets.numbers[one], sets.numbers[other], np.array([pair[2] for pair in pairs]))


def _twin(
    own: frozenset[int], candidates: set[int], kept: dict[int, frozenset[int]], threshold: float
) -> tuple[int, float] | None:
    """The first of some kept sets that is alike, and how much."""
    for one in sorted(candidates):
        both = len(own & kept[one])
        share = both / (len(own) + len(kept[one]) - both)
        if share >= threshold - _ALMOST:
            return one, share
    return None


def _shares(sets: _Sets, one: Array, other: Array) -> Array:
    """The Jaccard similarity of each pair, (pairs) float64."""
    sizes = sets.sizes
    keys = []
    for side in (one, other):
        pair = np.repeat(np.arange(len(side), dtype=np.uint64), sizes[side])
        found = sets.members[expand(sets.ends[:-1][side], sizes[side])]
        keys.append((pair << np.uint64(32)) | found)
    joined = np.sort(np.concatenate(keys))
    twice = joined[1:][joined[1:] == joined[:-1]] >> np.uint64(32)
    both = np.bincount(twice.astype(np.int64), minlength=len(one))
    return both / np.maximum(sizes[one] + sizes[other] - both, 1)
