"""The trie of kept prompts against lists that do the same."""

from hypothesis import given
from hypothesis import strategies as st

from serve.engine.prefixes import Prefixes, Tokens, common

HEAD = tuple(range(100, 140))
SIZE, BLOCKS = 3, 7


def blocks_of(tokens: Tokens, size: int = SIZE) -> list[Tokens]:
    """The heads of a prompt that end where one of its blocks does, the longest first."""
    ends = [*range(size, len(tokens), size), len(tokens)]
    return [tokens[:end] for end in reversed(ends)]


class Naive:
    """Heads of prompts in a list, in the order in which they go."""

    def __init__(self) -> None:
        self.heads: list[tuple[str, Tokens]] = []

    def touch(self, name: str, heads: list[Tokens]) -> None:
        """The longest first."""
        for head in heads:
            if (name, head) in self.heads:
                self.heads.remove((name, head))
            self.heads.append((name, head))

    def match(self, name: str, tokens: Tokens) -> int:
        mine = [head for owner, head in self.heads if owner == name]
        best = max((common(head, tokens) for head in mine), default=0)
        whole = [tokens[:end] for end in range(SIZE, best + 1, SIZE)]
        rest = [head for head in mine if common(head, tokens) == best and best % SIZE]
        rest = [head for head in rest if len(head) <= len(whole) * SIZE + SIZE]
        self.touch(name, sorted(rest)[:1] + whole[::-1])
        return best

    def insert(self, name: str, tokens: Tokens, limit: int) -> None:
        path: list[Tokens] = []
        for head in reversed(blocks_of(tokens) if tokens else []):
            start = (len(head) - 1) // SIZE * SIZE
            beside = [h for o, h in self.heads if o == name and start < len(h) <= start + SIZE]
            longer = [h for h in beside if h[: len(head)] == head]
            shorter = [h for h in beside if head[: len(h)] == h]
            if not longer and shorter:
                self.heads[self.heads.index((name, shorter[0]))] = name, head
            elif not longer:
                while len(self.heads) >= limit:
                    if not self.heads or self.heads[0] == (name, path[0] if path else None):
                        self.touch(name, path[::-1])
                        return
                    self.heads.pop(0)
                self.heads.append((name, head))
            path.append(min(longer, default=head))
            self.touch(name, path[-1:])
        self.touch(name, path[::-1])


prompts = st.lists(st.integers(0, 1), max_size=11).map(tuple)
steps = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "match", "shrink", "forget"]),
        st.sampled_from("ab"),
        prompts,
        st.integers(0, BLOCKS + 1),
    ),
    max_size=40,
)


@given(steps)
def test_it_is_the_naive_one(steps: list[tuple[str, str, Tokens, int]]) -> None:
    """What lies in the blocks, too: each token is found where a match says that it is."""
    trie, naive = Prefixes(BLOCKS, SIZE), Naive()
    there: dict[int, tuple[str, Tokens]] = {}
    for kind, name, tokens, limit in steps:
        if kind == "insert":
            naive.insert(name, tokens, min(limit, BLOCKS))
            for fill in trie.insert(tokens, name, limit):
                there[fill.block] = name, tokens[: fill.stop]
                assert fill.start % SIZE == 0 and 0 < fill.stop - fill.start <= SIZE
        elif kind == "shrink":
            for block in trie.shrink(limit):
                del there[block]
            del naive.heads[: max(0, len(naive.heads) - limit)]
        elif kind == "forget":
            trie.forget()
            naive, there = Naive(), {}
        found = trie.match(tokens, name)
        assert found.length == naive.match(name, tokens)
        assert len(found.blocks) == -(-found.length // SIZE)
        for place, block in enumerate(found.blocks):
            owner, head = there[block]
            stop = min(found.length, (place + 1) * SIZE)
            assert owner == name and head[:stop] == tokens[:stop]
        assert len(trie) == len(naive.heads) <= BLOCKS


@given(prompts, prompts)
def test_common(one: Tokens, other: Tokens) -> None:
    shared = common(one, other)
    assert one[:shared] == other[:shared]
    assert one[shared : shared + 1] != other[shared : shared + 1] or shared == min(
        len(one), len(other)
    )


def test_a_match_is_exact_to_the_token() -> None:
    trie = Prefixes(10)
    trie.insert((*HEAD, 1, 2), None, 10)
    assert trie.match((*HEAD, 1, 3), None).length == len(HEAD) + 1
    assert trie.match((*HEAD, 1, 2, 3), None).length == len(HEAD) + 2


def test_a_shared_head_is_kept_once() -> None:
    trie = Prefixes(10)
    assert len(trie.insert((*HEAD, 1), None, 10)) == 3
    fills = trie.insert((*HEAD, 2), None, 10)
    assert [(fill.start, fill.stop) for fill in fills] == [(32, 41)]
    assert not trie.insert((*HEAD, 1), None, 10), "it is there"


def test_what_goes_on_takes_no_new_block() -> None:
    trie = Prefixes(10)
    trie.insert(HEAD, None, 10)
    fills = trie.insert((*HEAD, 1), None, 10)
    assert [(fill.start, fill.stop) for fill in fills] == [(32, 41)]
    assert len(trie) == 3


def test_adapters_do_not_share() -> None:
    trie = Prefixes(10)
    trie.insert(HEAD, "a", 10)
    assert trie.match(HEAD, "b").length == trie.match(HEAD, None).length == 0


def test_who_was_not_used_for_longest_goes() -> None:
    trie = Prefixes(3)
    for first in (1, 2, 3):
        trie.insert((first, 0), None, 3)
    trie.match((1, 0), None)
    trie.insert((4, 0), None, 3)
    assert [trie.match((first, 0), None).length for first in (1, 2, 3, 4)] == [2, 0, 2, 2]


def test_a_prompt_that_is_too_long_is_kept_in_part() -> None:
    trie = Prefixes(2)
    trie.insert(tuple(range(500, 600)), None, 2)
    assert trie.match(tuple(range(500, 600)), None).length == 32
