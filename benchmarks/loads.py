"""The loads: what is asked, by how many clients, and what is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.prompts import Writer


@dataclass(frozen=True)
class Question:
    """One request, in no server's words."""

    prompt: str
    max_new_tokens: int
    stops: tuple[str, ...] = ()
    candidates: int = 1


@dataclass(frozen=True)
class Load:
    """Requests in a closed loop.

    Attributes:
        name: for ``--loads``.
        title: in the table.
        clients: how many ask at the same time.
        requests: how many are asked of a server that batches.
        few: how many are asked of one that does not: enough for a rate, within a minute.
        new_tokens: most new tokens that a request asks for.
        questions: makes so many.
        tokenize: whether /tokenize is called meanwhile.
    """

    name: str
    title: str
    clients: int
    requests: int
    few: int
    new_tokens: int
    questions: Callable[[Writer, int], list[Question]]
    tokenize: bool = False


def _multiple_choice(
    prefix: int, question: tuple[int, int]
) -> Callable[[Writer, int], list[Question]]:
    def make(writer: Writer, count: int) -> list[Question]:
        prompts = writer.multiple_choice(count, prefix, question)
        return [Question(prompt, 1, candidates=5) for prompt in prompts]

    return make


def _sums(
    shots: int, most: int, stops: tuple[str, ...] = ("\n\n",)
) -> Callable[[Writer, int], list[Question]]:
    def make(writer: Writer, count: int) -> list[Question]:
        return [Question(prompt, most, stops) for prompt in writer.sums(count, shots)]

    return make


def _stories(prompt: int, new: int) -> Callable[[Writer, int], list[Question]]:
    def make(writer: Writer, count: int) -> list[Question]:
        return [Question(writer.prose(prompt), new) for _ in range(count)]

    return make


def _mixed(prompts: Sequence[int], new: Sequence[int]) -> Callable[[Writer, int], list[Question]]:
    def make(writer: Writer, count: int) -> list[Question]:
        random = Random(0)  # the same lengths in each repeat, other texts
        return [
            Question(writer.prose(random.choice(prompts)), random.choice(new)) for _ in range(count)
        ]

    return make


STANDARD = (
    Load("a550", "(a) multiple choice, 550-token prefix, 30 clients, 1 new token",
         30, 150, 24, 1, _multiple_choice(550, (60, 90))),
    Load("a1900", "(a) multiple choice, 1,900-token prefix, 30 clients, 1 new token",
         30, 60, 4, 1, _multiple_choice(1900, (60, 90))),
    Load("b", "(b) worked sums, 700-token prefix, up to 400 new tokens, 30 clients",
         30, 30, 2, 400, _sums(5, 400), tokenize=True),
    Load("c1", "(c) 128-token prompts, 64 new tokens, 1 client", 1, 5, 4, 64, _stories(128, 64)),
    Load("c4", "(c) the same, 4 clients", 4, 12, 4, 64, _stories(128, 64)),
    Load("c16", "(c) the same, 16 clients", 16, 48, 6, 64, _stories(128, 64)),
    Load("e", "(e) prompts of 16 to 400 tokens, 1 to 128 new tokens, 16 clients",
         16, 72, 6, 128, _mixed((16, 64, 128, 400), (1, 1, 16, 64, 128))),
)  # fmt: skip

#: For a card, whose minutes are few: weights may be random, so nothing but its length ends an
#: answer.
CARD = (
    Load("a550", "(a) multiple choice, 550-token prefix, 30 clients, 1 new token",
         30, 300, 24, 1, _multiple_choice(550, (60, 90))),
    Load("b", "(b) worked sums, 700-token prefix, 200 new tokens, 30 clients",
         30, 60, 2, 200, _sums(5, 200, stops=()), tokenize=True),
    Load("c1", "(c) 128-token prompts, 64 new tokens, 1 client", 1, 4, 3, 64, _stories(128, 64)),
    Load("c16", "(c) the same, 16 clients", 16, 64, 4, 64, _stories(128, 64)),
)  # fmt: skip

#: For tests: the same kinds of requests, short enough for a tiny model.
QUICK = (
    Load("a550", "(a) short", 4, 8, 3, 1, _multiple_choice(60, (20, 30))),
    Load("b", "(b) short", 4, 4, 2, 8, _sums(1, 8), tokenize=True),
    Load("c1", "(c) short, 1 client", 1, 2, 2, 4, _stories(16, 4)),
    Load("c16", "(c) short, 4 clients", 4, 8, 2, 4, _stories(16, 4)),
    Load("e", "(e) short", 4, 10, 5, 8, _mixed((8, 16), (1, 1, 8))),
)
