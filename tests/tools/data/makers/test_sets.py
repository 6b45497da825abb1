"""Sets: each person is looked up in each group."""

import random
import re

from tools.data.makers import sets


def solve(text: str, choices: tuple[str, ...] = ()) -> str:
    facts, _, rest = text.partition(" Who is ")
    asked, _, form = rest.partition("? ")
    assert form.startswith("Write the names in alphabetical order, separated by commas, or Nobody")
    members = {
        group: set(re.split(r", | and ", names))
        for names, group in re.findall(r"([^.]+?) are in (the [^.]+)\.", facts.replace(". ", ".\n"))
    }
    members = {group: {name.strip() for name in who} for group, who in members.items()}
    people = sorted(set().union(*members.values()))
    parts = re.findall(r"(not )?in (the [a-z ]+?)(?=,| and (?:not )?in |$)", asked)
    assert len(parts) == len(members)
    found = [p for p in people if all((p in members[g]) != bool(no) for no, g in parts)]
    return ", ".join(found) or "Nobody"


def test_somebody_is_found_more_often_than_not() -> None:
    made = [sets.make(random.Random(n), 1 + n % 4).output for n in range(400)]
    assert 0 < made.count("Nobody") < 200
