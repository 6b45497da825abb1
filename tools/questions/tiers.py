"""What HELM is asked: the recipe's own tiers, the organizers' stages, or anybody's conf file.

``eval.tier`` is a key of ``eval.tiers``; the name of one of the organizers' stages, alone or with a
number of questions (``open``, ``open:100``); or the path of a HELM conf file (``my.conf``).
The stages are made of ``tiers.yaml``, for any number; with the organizers' numbers they are their
files, entry by entry.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.errors import UserError
from tools.questions import conf
from tools.questions.conf import Entry
from tools.questions.needs import needs
from tools.recipe import yaml_map
from tools.recipe.faults import nearest
from tools.recipe.schema import Eval

DECLARED = Path(__file__).with_name("tiers.yaml")
BOTH = "full"  # the final's two stages
BOUND = re.compile(r"\bmax_eval_instances=(\d+)\b")


def entries(asked: Eval) -> list[Entry]:
    """The entries of the tier that a recipe asks for, those that ask nothing left out.

    Args:
        asked: the recipe's ``eval`` section.

    Raises:
        UserError: there is no such tier or file, its number is none, or a file has faults.
    """
    found = [(one, BOUND.search(one.description)) for one in everything(asked)]
    return [one for one, bound in found if not (bound and int(bound[1]) == 0)]


def everything(asked: Eval) -> list[Entry]:
    """The entries of the tier, with those that small budgets leave without a question."""
    name = asked.tier
    if name in asked.tiers:
        listed = enumerate(asked.tiers[name])
        return [Entry(text, f"eval.tiers.{name}[{index}]") for index, text in listed]
    if is_conf(name):
        return conf.read(Path(name))
    return [Entry(text, f"eval.tier={name}") for text in stage(name, asked.tiers)]


def is_conf(name: str) -> bool:
    """Whether a tier's name is the path of a conf file."""
    return name.endswith(".conf")


def stages() -> list[str]:
    """The tiers that need no list in a recipe."""
    return [*_declared()["tiers"], BOTH]


def is_known(name: str, own: dict[str, list[str]]) -> bool:
    """Whether there is such a tier, as far as its name goes."""
    return name in own or is_conf(name) or name.partition(":")[0] in stages()


def fingerprint(asked: Eval) -> dict[str, Any]:
    """What of a recipe's ``eval`` section decides scores: entries, their bounds, their data.

    A tier that is not there has its name for entries: it is told where it is asked for.
    """
    try:
        found = entries(asked)
    except UserError:
        return {"tier": asked.tier, "max_instances": asked.max_instances}
    bounds = [BOUND.search(one.description) for one in found]
    unbounded = not all(bounds)
    most = max((int(bound[1]) for bound in bounds if bound), default=0)
    return {
        "entries": [[one.description, list(one.groups)] for one in found],
        # With a bound in every entry the recipe's own asks nothing, so its edit changes nothing.
        "max_instances": asked.max_instances if unbounded else most,
        "data": _data(asked, found),
    }


def _data(asked: Eval, found: list[Entry]) -> dict[str, Any]:
    """Size and time of the files of ``eval.data`` that the entries need."""
    folder = Path(asked.data)
    asking = [need for one in found for need in needs(one.description)] if asked.data else []
    files = {path for need in asking for path in (need.path, need.other) if path}
    states = {path: (folder / path).stat() for path in files if (folder / path).exists()}
    return {path: [states[path].st_size, states[path].st_mtime_ns] for path in sorted(states)}


def stage(name: str, own: dict[str, list[str]] | None = None) -> list[str]:
    """HELM's run entries for one of the organizers' stages, their ``model=`` included.

    Args:
        name: of the stage, and its questions after a colon when they are not the organizers';
            ``full:100`` has 100 of either stage.
        own: the recipe's own tiers, for the message.

    Raises:
        UserError: there is no such tier, or the number is none.
    """
    word, colon, number = name.partition(":")
    if word not in stages():
        known = [*(own or {}), *stages()]
        raise UserError(
            f"eval.tier: no tier {name!r}{nearest(word, known)}; there are {', '.join(known)}; "
            f"or give a number of questions, as open:100, or a HELM conf file, as my.conf"
        )
    # isdigit alone takes ² as well, which int refuses.
    if colon and not (number.isascii() and number.isdigit() and int(number)):
        raise UserError(f"eval.tier: {name!r}: give a number of questions, as {word}:100")
    names = ("open", "hidden") if word == BOTH else (word,)
    return [text for one in names for text in _stage(one, int(number) if colon else None)]


def _stage(name: str, questions: int | None) -> Iterator[str]:
    """The entries of one stage; bounded only where it has a number of questions."""
    declared = _declared()
    tier = declared["tiers"][name]
    questions = questions or tier.get("questions")
    groups = [
        (group, [_filled(scenario["entry"], group, member) for member in members])
        for scenario in (declared["scenarios"][one] for one in tier["scenarios"])
        for group, members in scenario["groups"].items()
    ]
    if not questions:
        yield from (text for _, members in groups for text in members)
        return
    parts = budgets(questions, [group for group, _ in groups], declared["odd"])
    for group, members in groups:
        for text, count in zip(members, shares(parts[group], len(members)), strict=True):
            yield f"{text},max_eval_instances={count}"


def _filled(entry: str, group: str, member: str) -> str:
    return entry.replace("{group}", group).replace("{member}", member)


def budgets(questions: int, groups: list[str], odd: list[str]) -> dict[str, int]:
    """Questions by group: the same for each, and one more for those that come first in ``odd``."""
    each, left = divmod(questions, len(groups))
    order = [name for name in odd if name in groups]
    more = [*order, *(name for name in groups if name not in order)][:left]
    return {name: each + (name in more) for name in groups}


def shares(questions: int, members: int) -> list[int]:
    """Questions by member: the same for each, and one more for the last ones."""
    each, left = divmod(questions, members)
    return [each + (index >= members - left) for index in range(members)]


@functools.cache
def _declared() -> dict[str, Any]:
    declared: dict[str, Any] = yaml_map.read(DECLARED)
    return declared
