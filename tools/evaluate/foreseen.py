"""What an evaluation will be able to tell from noise, known before a question is asked."""

import json
import re
from collections import Counter

from tools.evaluate.stage import expand
from tools.questions import tiers
from tools.questions.tiers import BOUND
from tools.run.folder import Run
from tools.score import detectable


def foreseen(run: Run) -> str:
    """How small a difference the questions of the tier can show, as lines.

    How many they are is what is asked for. A scenario may have fewer, and an entry of HELM's may
    stand for several run specs: then they are others.

    Args:
        run: its data stage is done.

    Raises:
        UserError: there is no such tier, or its file has faults.
    """
    counts = _counts(run)
    groups = {
        "trained skills": [count for name, count in counts.items() if name.startswith("oneday:")],
        "HELM's scenarios": [c for name, c in counts.items() if not name.startswith("oneday:")],
    }
    lines = [
        f"  {name}: {_of(each)}: {detectable.said(each)}" for name, each in groups.items() if each
    ]
    return "\n".join([f"eval: before it is asked ({detectable.ASSUMED}):", *lines])


def _of(counts: list[int]) -> str:
    entries = f"{len(counts)} run specs" if len(counts) > 1 else "a run spec"
    return f"at most {sum(counts):,} questions, {entries}"


def _counts(run: Run) -> Counter[str]:
    """At most so many questions, by run entry, each skill by itself."""
    rows = _held_out(run)
    asked = [one.description for one in tiers.entries(run.recipe.eval)]
    found: Counter[str] = Counter()
    for text in expand(asked, sorted(rows)):
        bound = BOUND.search(text)
        count = int(bound[1]) if bound else run.recipe.eval.max_instances
        skill = re.search(r"\bskill=([^,]*)", text)
        found[text] = min(count, rows[skill[1]]) if skill else count
    return found


def _held_out(run: Run) -> Counter[str]:
    """How many rows each skill was given for HELM to ask."""
    with (run.output("data") / "test.jsonl").open(encoding="utf-8") as lines:
        return Counter(json.loads(line)["skill"] for line in lines)
