"""Causes: the dials are turned, one by one, and who follows is looked at."""

import random
import re

from tools.data.makers import causes


def moved(links: list[tuple[str, str]], turned: str) -> set[str]:
    """All dials that turn when one is turned."""
    found, rest = {turned}, [turned]
    while rest:
        at = rest.pop()
        rest += [b for a, b in links if a == at and b not in found]
        found |= {b for a, b in links if a == at}
    return found


def solve(text: str, choices: tuple[str, ...]) -> str:
    links = re.findall(r"The (\w+) dial drives the (\w+) dial\.", text)
    dials = {name for link in links for name in link}
    if done := re.search(r"turns the (\w+) dial by hand .* What does the (\w+) dial do\?$", text):
        return "It turns" if done[2] in moved(links, done[1]) else "It stays"
    asked = re.search(r"How are the (\w+) dial and the (\w+) dial related\?$", text)
    assert asked
    first, second = asked.groups()
    both = {dial for dial in dials - {first, second} if {first, second} <= moved(links, dial)}
    held = {
        f"Turning {first} turns {second}": second in moved(links, first),
        f"Turning {second} turns {first}": first in moved(links, second),
    }
    held["A third dial turns both, and neither turns the other"] = bool(both) and not any(
        held.values()
    )
    held["They have nothing to do with each other"] = not any(held.values())
    assert held.keys() == set(choices)
    (right,) = [choice for choice, true in held.items() if true]
    return right


def test_what_turns_together_is_told_and_is_so() -> None:
    said = 0
    for seed in range(1000):
        text = causes.make(random.Random(seed), 1 + seed % 5).input
        links = re.findall(r"The (\w+) dial drives the (\w+) dial\.", text)
        asked = re.search(r"Somebody turns the (\w+) dial .* does the (\w+) dial do", text)
        if not asked:
            continue
        dials = {name for link in links for name in link}
        together = any({asked[1], asked[2]} <= moved(links, dial) for dial in dials)
        assert together == ("often seen to turn at the same time" in text)
        said += together
    assert said > 100


def test_correlation_without_cause_is_asked_for() -> None:
    made = [causes.make(random.Random(n), 1 + n % 5) for n in range(1000)]
    kinds = {question.output.split(" ")[0] for question in made}
    assert kinds == {"Turning", "A", "They", "It"}
    traps = [q for q in made if "often seen" in q.input and q.output == "It stays"]
    assert len(traps) > 50
