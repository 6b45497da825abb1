"""What a rule is, and what rules share."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tools.recipe.schema import Recipe

Verdict = Literal["pass", "warn", "fail"]
Facts = dict[str, Any]  # recipes/rules.yaml


class Fault(NamedTuple):
    """One thing that is wrong.

    Attributes:
        verdict: ``fail`` stops a run, ``warn`` does not.
        key: the full key of the value to change.
        message: what is so, with the values, and why it is wrong.
        remedy: what to do about it.
    """

    verdict: Verdict
    key: str
    message: str
    remedy: str


Faults = Iterator[Fault]


@dataclass(frozen=True)
class Rule:
    """A rule to check.

    Attributes:
        name: for the report.
        reference: where it comes from.
        find: yields what is wrong, nothing when all is well.
        eligibility: true when it decides who may take part, false when it decides what can work.
    """

    name: str
    reference: str
    find: Callable[[Recipe, Facts], Faults]
    eligibility: bool = False


def fail(key: str, message: str, remedy: str) -> Fault:
    """A fault that stops a run."""
    return Fault("fail", key, message, remedy)


def warn(key: str, message: str, remedy: str) -> Fault:
    """A fault to know of."""
    return Fault("warn", key, message, remedy)


def plain(name: str) -> str:
    """A name as it is compared: without case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name).lower()


def one_of(name: str, known: Iterable[str]) -> bool:
    """Whether a name is among the known ones, as :func:`plain` compares."""
    return plain(name) in map(plain, known)


def parts(name: str) -> set[str]:
    """The words of a hub id: ``Qwen/Qwen-7B-Chat`` has qwen, 7b, chat."""
    return set(re.split(r"[/\s._-]+", name.lower()))
