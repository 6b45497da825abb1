"""What the plan says of a soup and of ensembles."""

import dataclasses
from pathlib import Path

import pytest

from serve.config import Match, Rule
from tools.plan import several
from tools.plan.disk import disk
from tools.plan.verdict import Plan, plan
from tools.recipe.load import load
from tools.recipe.schema import Soup


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    return plan(load(Path("recipes/cpu.yaml")).recipe, tmp_path)


def with_soup(planned: Plan, soup: Soup) -> Plan:
    return dataclasses.replace(planned, recipe=dataclasses.replace(planned.recipe, soup=soup))


def test_nothing_is_said_where_there_is_none(planned: Plan) -> None:
    assert several.render(planned) == ""
    assert several.as_json(planned) == {"soup": None, "ensembles": {}}


@pytest.mark.parametrize(("average", "rank"), [("product", 64), ("factors", 16)])
def test_a_soup(planned: Plan, average: str, rank: int) -> None:
    soup = Soup(checkpoints=2, adapters={"x": "runs/x/adapter"}, average=average)  # type: ignore[arg-type]
    found = with_soup(planned, soup)
    told = several.as_json(found)["soup"]
    assert (told["members"], told["evaluations"], told["rank"]) == (4, 7, rank)
    assert told["seconds"] == pytest.approx(7 * told["rows"] * 150 * 2 * 134.5e6 / 0.3e11, rel=0.01)
    said = several.render(found)
    assert said.startswith("soup: 4 adapters at most, 7 evaluations of 40 rows, about 0:06:17 of")
    assert "the reserve, which is shorter: raise budget.reserve_minutes; the mean" in said
    assert said.endswith(f"the mean has rank {rank} at most")


def test_what_lies_there_for_a_soup_is_on_the_disk(planned: Plan) -> None:
    recipe = with_soup(planned, Soup(checkpoints=3)).recipe
    more = disk(planned.job, recipe).adapter / disk(planned.job, planned.recipe).adapter
    assert more == 1 + 3 + 4, "the own one, three kept, and a mean of four side by side"


def test_an_ensemble(planned: Plan) -> None:
    rules = {
        "choice": Rule(Match(max_new_tokens=1), ensemble=["a", "b", ""]),
        "rest": Rule(adapter="a"),
    }
    serve = dataclasses.replace(planned.recipe.serve, rules=rules)
    recipe = dataclasses.replace(planned.recipe, serve=serve)
    found = dataclasses.replace(planned, recipe=recipe)
    assert several.as_json(found)["ensembles"] == {"choice": {"members": 3}}
    said = several.render(found)
    assert said.startswith("ensemble: serve.rules.choice asks 3 adapters: 3 times the tokens")
    assert "32 places of serve.max_batch" in said
