"""What it costs to average several adapters, and to ask several."""

from typing import Any

from tools.console import duration
from tools.plan.serving import forward
from tools.plan.verdict import Plan
from tools.recipe.schema import Soup


def render(found: Plan) -> str:
    """The soup and the ensembles in lines; empty where a recipe has none."""
    lines = []
    if soup := _soup(found):
        reserve = 60 * found.recipe.budget.reserve_minutes
        more = ", which is shorter: raise budget.reserve_minutes"
        lines.append(
            f"soup: {soup['members']} adapters at most, {soup['evaluations']} evaluations of "
            f"{soup['rows']} rows, about {duration(soup['seconds'])} of the reserve"
            f"{more if soup['seconds'] > reserve else ''}; the mean has rank {soup['rank']} at most"
        )
    for name, one in _ensembles(found).items():
        lines.append(
            f"ensemble: serve.rules.{name} asks {one['members']} adapters: {one['members']} times "
            "the tokens, of prompts and answers, of each request that it matches, and as many of "
            f"the {found.recipe.serve.max_batch} places of serve.max_batch"
        )
    return "\n".join(lines)


def as_json(found: Plan) -> dict[str, Any]:
    """The same for programs."""
    return {"soup": _soup(found), "ensembles": _ensembles(found)}


def members(soup: Soup) -> int:
    """Most adapters that a soup is made of, the run's own among them."""
    return 1 + soup.checkpoints + soup.trials + len(soup.adapters)


def _soup(found: Plan) -> dict[str, Any] | None:
    soup, recipe = found.recipe.soup, found.recipe
    if soup is None:
        return None
    count, rows = members(soup), recipe.data.validation_rows
    evaluations = 2 * count - 1  # each alone, and each but the first beside those before it
    rank = found.job.rank
    return {
        "members": count,
        "evaluations": evaluations,
        "rows": rows,
        "seconds": evaluations * forward(recipe, found.job, rows),
        "rank": rank * count if soup.average == "product" else rank,
    }


def _ensembles(found: Plan) -> dict[str, dict[str, int]]:
    """By rule, how many are asked in place of one."""
    rules = found.recipe.serve.rules.items()
    return {name: {"members": len(rule.ensemble)} for name, rule in rules if rule.ensemble}
