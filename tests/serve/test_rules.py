"""Which rule is applied, what it asks of the engine, and which rules are refused."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.config import Match, Rule
from serve.engine.base import GenResult, GenToken
from serve.rules import CAPITAL, LOOK, RuleFault, Rules, blank_lines, capital_letter, faults


def name_of(rules: dict[str, Rule], prompt: str, tokens: int = 10) -> str | None:
    plan = Rules(rules).pick(prompt, tokens)
    return plan.name if plan else None


def test_the_first_match_wins() -> None:
    rules = {
        "one": Rule(Match(prompt="a")),
        "two": Rule(Match(prompt="b")),
        "rest": Rule(),
    }
    assert [name_of(rules, prompt) for prompt in ("ab", "b", "c")] == ["one", "two", "rest"]


def test_no_rule_no_plan() -> None:
    assert Rules({}).pick("a", 1) is None
    assert name_of({"one": Rule(Match(prompt="b"))}, "a") is None


@pytest.mark.parametrize(
    ("match", "prompt", "tokens", "matches"),
    [
        (Match(), "", 1, True),
        (Match(prompt="^b$"), "a\nb\nc", 1, True),
        (Match(prompt=r"^c\Z"), "a\nc\n", 1, False),
        (Match(max_new_tokens=1), "a", 1, True),
        (Match(max_new_tokens=1), "a", 2, False),
        (Match(min_blank_lines=2), "a\n\nb\n\nc", 1, True),
        (Match(min_blank_lines=2), "a\n\nb\n\n", 1, False),
        (Match(max_blank_lines=1), "a\n\nb", 1, True),
        (Match(max_blank_lines=1), "a\n\n\nb", 1, False),
        (Match(max_blank_lines=0), "a\n \nb", 1, False),
        (Match(min_blank_lines=1, max_blank_lines=1), "a\n\nb", 1, True),
        (Match(prompt="a", max_new_tokens=1, max_blank_lines=0), "a", 1, True),
        (Match(prompt="a", max_new_tokens=1, max_blank_lines=0), "b", 1, False),
    ],
)
def test_match(match: Match, prompt: str, tokens: int, matches: bool) -> None:
    assert (name_of({"x": Rule(match)}, prompt, tokens) == "x") is matches


@pytest.mark.parametrize(
    ("prompt", "count"),
    [("", 0), ("a", 0), ("a\n\n", 0), ("\n\na", 0), ("a\n\nb", 1), ("a\n \n\t\nb\nc\n\nd\n", 3)],
)
def test_blank_lines(prompt: str, count: int) -> None:
    assert blank_lines(prompt) == count


def test_only_the_end_of_a_very_long_prompt_is_looked_at() -> None:
    rules = {"x": Rule(Match(prompt="needle"), wrap="<{prompt}>")}
    assert name_of(rules, "needle" + "a" * LOOK) is None
    plan = Rules(rules).pick("a" * LOOK + "needle", 1)
    assert plan and len(plan.prompt) == LOOK + len("<needle>")


def test_plan() -> None:
    rule = Rule(adapter="letters", wrap="Q: {prompt}\nA:", stop=["###", "\n\n"], cut=["x"])
    plan = Rules({"one": rule}).pick("{x} {prompt} \\1", 5)
    assert plan
    assert (plan.name, plan.adapter, plan.wrapped) == ("one", "letters", True)
    assert plan.prompt == "Q: {x} {prompt} \\1\nA:"
    assert plan.stops == ("###", "\n\n")


def said(*texts: str) -> GenResult:
    best = ((" a", -0.5), (" b", -1.0), (" the", -2.0))
    return GenResult(tuple(GenToken(7, text, -0.5, best, text) for text in texts), "length")


@pytest.mark.parametrize("texts", [(" b",), ("b",), (" ", "b"), ("\n", " b", "\n")])
def test_a_single_letter_becomes_a_capital(texts: tuple[str, ...]) -> None:
    made = capital_letter(said(*texts))
    assert "".join(t.text for t in made.tokens) == "".join(texts).replace("b", "B")
    for token in made.tokens:
        assert token.candidates == ((" A", -0.5), (" B", -1.0), (" the", -2.0))
        assert (token.logprob, token.name) == (-0.5, token.text)


@pytest.mark.parametrize("texts", [(), (" B",), (" b", "."), (" ab",), (" 7",), (" ß",), (" ",)])
def test_any_other_answer_stays_as_it_is(texts: tuple[str, ...]) -> None:
    result = said(*texts)
    assert capital_letter(result) is result


def test_capitals_by_rule_or_by_none() -> None:
    rules = Rules({"first": Rule(Match(prompt="^Q"), extract="([a-d])")})
    for prompt, name in (("Q", "first"), ("x", CAPITAL)):
        plan = rules.pick(prompt, 1, capitals=True)
        assert plan and (plan.name, plan.prompt, plan.wrapped) == (name, prompt, False)
        finished, steps = plan.finish(said(" b"))
        assert "".join(token.text for token in finished.tokens).strip() == "B"
        assert steps[-1] == CAPITAL
        assert plan.finish(said(" Berlin"))[1] in ((), ("extract",))
    plan = rules.pick("Q", 1)
    assert plan and plan.finish(said("b")) == (said("b"), ())
    assert rules.pick("x", 1) is None


def test_a_rule_that_does_nothing() -> None:
    plan = Rules({"one": Rule()}).pick("a", 5)
    assert plan
    assert (plan.adapter, plan.prompt, plan.wrapped, plan.stops) == (None, "a", False, ())
    assert plan.enough is None
    answer = GenResult((GenToken(1, " A", -1.0, ()),), "eos")
    assert plan.finish(answer) == (answer, ())


def test_enough_and_finish() -> None:
    plan = Rules({"one": Rule(cut=["\n\n"])}).pick("a", 5)
    assert plan and plan.enough
    assert [plan.enough(text) for text in ("b", "b\n", "b\n\n")] == [False, False, True]
    answer, steps = plan.finish(GenResult((GenToken(1, "b\n\n", -1.0, ()),), "length"))
    assert ([token.text for token in answer.tokens], steps) == (["b"], ("cut",))


FAULTS: list[tuple[Rule, dict[str, str]]] = [
    (Rule(Match(prompt="(a")), {"match.prompt": "'(a' is no regular expression: missing )"}),
    (Rule(Match(prompt="")), {"match.prompt": "is empty"}),
    (Rule(Match(max_new_tokens=0)), {"match.max_new_tokens": "must be at least 1, not 0"}),
    (Rule(Match(min_blank_lines=-1)), {"match.min_blank_lines": "must be 0 or more, not -1"}),
    (Rule(Match(max_blank_lines=-1)), {"match.max_blank_lines": "must be 0 or more, not -1"}),
    (
        Rule(Match(min_blank_lines=3, max_blank_lines=2)),
        {"match.max_blank_lines": "must be 3 or more, not 2"},
    ),
    (Rule(adapter="leters"), {"adapter": "serve.adapters has no leters; did you mean letters?"}),
    (Rule(adapter="zzz"), {"adapter": "serve.adapters has no zzz; name its folder there"}),
    (Rule(ensemble=["letters", "leters"]), {"ensemble[1]": "did you mean letters?"}),
    (Rule(ensemble=["letters"]), {"ensemble": "has one member"}),
    (Rule(wrap="no place"), {"wrap": "must hold {prompt} once, not 0 times"}),
    (Rule(wrap="{prompt}{prompt}"), {"wrap": "must hold {prompt} once, not 2 times"}),
    (Rule(stop=["a", ""]), {"stop[1]": "is empty"}),
    (Rule(cut=["a", "*", ""]), {"cut[1]": "nothing to repeat", "cut[2]": "is empty"}),
    (Rule(cut=["a{99999999999}"]), {"cut[0]": "the repetition number is too large"}),
    (Rule(extract="(?<=a*)(b)"), {"extract": "look-behind requires fixed-width"}),
    (Rule(extract="a"), {"extract": "has no group"}),
    (Rule(extract="(?:a)"), {"extract": "has no group"}),
    (Rule(extract=""), {"extract": "is empty"}),
    (Rule(extract="(a)", format="x"), {"format": "must hold {x} once, not 0 times"}),
    (Rule(format="{x}"), {"format": "needs extract"}),
]


@pytest.mark.parametrize(("rule", "expected"), FAULTS)
def test_faults(rule: Rule, expected: dict[str, str]) -> None:
    found = dict(faults({"one": rule}, ["letters"]))
    assert list(found) == [f"rules.one.{key}" for key in expected]
    for key, text in expected.items():
        assert text in found[f"rules.one.{key}"]


def test_all_faults_at_once() -> None:
    rules = {f"r{number}": rule for number, (rule, _) in enumerate(FAULTS)}
    expected = sum(len(keys) for _, keys in FAULTS)
    matchless = sum(rule.match == Match() for rule in list(rules.values())[:-1])
    found = faults(rules, ["letters"])
    assert len(found) == expected + matchless
    with pytest.raises(RuleFault) as caught:
        Rules(rules)
    unknown = [fault for fault in found if fault[1].startswith("serve.adapters has no")]
    assert caught.value.faults == [fault for fault in found if fault not in unknown]
    assert "rules.r0.match.prompt: '(a' is no regular expression" in str(caught.value)


def test_a_rule_for_everything_must_be_the_last() -> None:
    found = faults({"all": Rule(cut=["x"]), "never": Rule(Match(prompt="a"))}, [])
    assert [key for key, _ in found] == ["rules.all.match"]
    assert faults({"some": Rule(Match(prompt="a")), "rest": Rule(cut=["x"])}, []) == []


@pytest.mark.parametrize("name", ["a.b", "a b", "1", "", "é", "a[0]"])
def test_names_fit_keys_and_metric_labels(name: str) -> None:
    [(key, text)] = faults({name: Rule(Match(prompt="a"))}, [])
    assert key == f"rules.{name}".rstrip(".")
    assert "a rule's name" in text


@given(st.dictionaries(st.text("ab", min_size=1), st.builds(Rule, cut=st.lists(st.text("(a*b)")))))
def test_rules_without_faults_are_accepted(rules: dict[str, Rule]) -> None:
    if faults(rules, []):
        with pytest.raises(RuleFault):
            Rules(rules)
    else:
        Rules(rules)


def test_no_heavy_import() -> None:
    heavy = "{'torch', 'transformers', 'litserve'}"
    code = f"import sys, serve.rules; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
