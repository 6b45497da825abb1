"""What follows from rules about kinds that do not exist: true, false, or not to be known.

The kinds are invented, so that nothing but the rules can tell the answer.
"""

import itertools
import random

from tools.data.makers.base import NAMES, Question, shuffled

VERDICTS = ("True", "False", "Cannot be known")
# None of them rules out another.
_TRAITS = tuple("tall hungry brave rich musical sleepy polite famous curious honest cold".split())
_BEGIN = "bri blo da flo gri ka lo mi plo ru ska ti vo wu yo zo".split()
_END = "dax ffin gam lit mop nk pple rn sk tch wug zz".split()


def make(rng: random.Random, level: int) -> Question:
    """A chain of ``level`` rules, in any order among as many that lead astray."""
    kinds = _kinds(rng, 2 * level + 1)
    chain, stray = kinds[:level], kinds[level:]
    told, other = rng.sample(_TRAITS, 2)
    verdict, name = rng.choice(VERDICTS), rng.choice(NAMES)
    rules = [f"Every {a} is a {b}." for a, b in itertools.pairwise(chain)]
    rules.append(f"{'No' if verdict == 'False' else 'Every'} {chain[-1]} is {told}.")
    # These lead to the chain, never away from it: to take one backwards is the usual error.
    rules += [f"Every {kind} is a {rng.choice(chain)}." for kind in stray[:-1]]
    # Of the other trait only kinds are told that the chain never reaches.
    rules.append(f"{rng.choice(('Every', 'No'))} {rng.choice(stray)} is {other}.")
    rng.shuffle(rules)
    asked = other if verdict == "Cannot be known" else told
    text = f"{' '.join(rules)} {name} is a {chain[0]}. Is it true that {name} is {asked}?"
    return Question(text, verdict, "letter", shuffled(rng, VERDICTS))


def _kinds(rng: random.Random, count: int) -> list[str]:
    """Different words that no dictionary has."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[rng.choice(_BEGIN) + rng.choice(_END)] = None
    return list(found)
