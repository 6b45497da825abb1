"""recipes/serve/helm.yaml on the prompts that HELM makes, judged by HELM's own metrics."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serve.engine.base import GenResult, GenToken
from serve.rules import Plan, Rules
from tools.evaluate import stage as evaluate
from tools.recipe.compose import RECIPES
from tools.recipe.load import load

SIDE = Path(__file__).with_name("helm_side.py")
RULES = Rules(load(RECIPES / "cpu.yaml").recipe.serve.rules)
NEXT = "\n\nQuestion: And then?\nA. No\nB. Yes\nAnswer: A\n\nQuestion: Why"


def helm(what: str, given: Any = None) -> Any:
    """What ``helm_side.py`` prints."""
    command = [str(evaluate.helm_venv() / "bin/python"), str(SIDE), what]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def asked() -> dict[str, dict[str, Any]]:
    """HELM's requests by case."""
    made: dict[str, dict[str, Any]] = helm("prompts")
    return made


def tokens(text: str) -> list[str]:
    """Words with the space before them, and runs of newlines, as tokenizers cut."""
    return re.findall(r"\n+| ?\w+| ?[^\w\n]", text)


def answer(plan: Plan | None, asked: dict[str, Any], completion: str, early: bool) -> GenResult:
    """What the worker gives for what the model would write: its tokens, the stops, the rule."""
    whole = "".join(tokens(completion)[: asked["max_new_tokens"]])
    stops = [*asked["stops"], *(plan.stops if plan else ())]
    text = whole[: min((whole.find(stop) for stop in stops if stop in whole), default=len(whole))]
    made: list[GenToken] = []
    for piece in tokens(text):
        made.append(GenToken(1, piece, -1.0, ()))
        if early and plan and plan.enough and plan.enough("".join(t.text for t in made)):
            break
    result = GenResult(tuple(made), "length")
    return plan.finish(result)[0] if plan else result


def text_of(result: GenResult) -> str:
    return "".join(token.text for token in result.tokens)


@dataclass(frozen=True)
class Case:
    """A completion, and what HELM makes of it with and without its rule."""

    name: str
    rule: str | None
    completion: str
    metric: str
    right: str
    bare: float
    ruled: float = 1.0


def choices(name: str) -> list[Case]:
    """Ways of writing B, and what is no B."""
    return [
        Case(name, "choice", " B", "exact_match", "B", 1),
        *(
            Case(name, "choice", text, "exact_match", "B", 0)
            for text in (
                f" B{NEXT}",
                "\n\nB\nQuestion: next",
                " B. Stop",
                " (B) Stop",
                "B) Stop, because one must.",
                " B\nA. Go",
                " The answer is B.",
                f" The correct answer is: (B){NEXT}",
            )
        ),
        Case(name, "choice", f" Stop{NEXT}", "exact_match", "A", 0, 0),  # A is the next one's
        Case(name, "choice", " Stop\nQuestion: Why? The answer is A", "exact_match", "A", 0, 0),
        Case(name, "choice", " Apples", "exact_match", "A", 0, 0),
        Case(name, "choice", " I think so", "exact_match", "I", 0, 0),
        Case(name, "choice", " A dog", "exact_match", "A dog", 1),
    ]


SUM = " 5 + 6 = 11."
SHOT = "\n\nQ: What else?\nA: 1 + 1 = 2. The answer is 2."
GSM = [
    (f"{SUM} The answer is 11.", 1),
    (f"{SUM} The answer is 11.{SHOT}", 1),
    (f"{SUM} The answer is 11.\nQ: What else?\nA: 1 + 1 = 2. The answer is 2.", 0),
    (f"{SUM} The answer is 11", 0),
    (f"{SUM} The answer is $11.", 0),
    (f"{SUM} The answer is 11 eggs.", 0),
    (f"{SUM}\nThe answer is **11**", 0),
    (f"{SUM} The answer is 5 + 6 = 11", 0),
    (f"{SUM} The answer is 11. I am sure, as 3 of 4 are.", 0),
    (" 6 and 5 are 11 eggs", 0),
    ("\nThe answer is 11.\n", 1),
]
MATH = "We have $x=\\boxed{11}$."
CASES = [
    *(case for shots in (0, 1, 2) for case in choices(f"choice_{shots}")),
    *(case for shots in (0, 1, 2) for case in choices(f"choice_own_words_{shots}")),
    *(
        Case(name, "letter", text, "exact_match", "B", bare, bare)
        for name in ("mmlu", "bbq", "truthful_qa", "oneday_letter")
        for text, bare in ((" B", 1), ("B", 1), (" Stop", 0))
    ),
    Case("simple_mcqa", "few_shot", " B", "exact_match", "B", 1),
    Case("simple_mcqa", "few_shot", f" B{NEXT}", "exact_match", "B", 0),
    *(
        Case("gsm", "gsm", text, "last_word", "It is. The answer is 11.", bare)
        for text, bare in GSM
    ),
    *(Case("gsm", "gsm", text, "last_number", "11.", bare) for text, bare in GSM[:2]),
    Case("gsm", "gsm", "The answer is 1,250 or so", "last_word", "The answer is 1,250.", 0),
    Case("gsm", "gsm", " It falls. The answer is -3 C", "last_word", "The answer is -3.", 0),
    Case("gsm", "gsm", " It costs $2.50", "last_word", "The answer is 2.50.", 0),
    Case("gsm", "gsm", " No idea", "last_word", "The answer is 11.", 0, 0),
    Case("math", "math", MATH, "boxed", MATH, 1),
    Case("math", "math", f"{MATH}\n###\nProblem: Two?\nAnswer: $\\boxed{{2}}$", "boxed", MATH, 1),
    Case("math", "math", f"{MATH}\n\nProblem: Two?\nAnswer: $\\boxed{{2}}$", "boxed", MATH, 0),
    *(
        Case(name, "summary", f"\nStop.{more}", "exact_match", "Stop.", not more.strip())
        for name in ("cnndm", "xsum")
        for more in ("", "\n\n", "\n\nArticle: More", "\nArticle: More", "\n\nWait.")
    ),
    *(
        Case(name, rule, f" Stop{more}", "exact_match", "Stop", not more.strip())
        for name, rule in (
            ("generation_0", "big_bench"),
            ("generation_1", "few_shot"),
            ("generation_2", "few_shot"),
            *((f"generation_own_words_{shots}", "big_bench") for shots in (0, 1, 2)),
        )
        for more in ("", "\n", NEXT, "\n\nWhat else?\n = Go")
    ),
    *(
        Case(name, rule, f" Stop{more}", "exact_match", "Stop", 1)
        for name, rule in (
            ("simple_short_answer_qa", "few_shot"),
            ("synthetic_reasoning", None),
            ("dyck_language", None),
            ("oneday_string", "few_shot"),
        )
        for more in ("", "\n\nQ")
    ),
    Case("oneday_number", "few_shot", f"{SUM} The answer is 11.", "last_word", "x 11.", 1),
    Case("oneday_number", "few_shot", " 11.\n\nQuestion: And", "last_word", "x 11.", 1),
    Case("oneday_number", "few_shot", " 11.\nQuestion: And", "last_word", "x 11.", 0),
]


def test_every_case_is_asked(asked: dict[str, dict[str, Any]]) -> None:
    assert {case.name for case in CASES} == set(asked)


@pytest.mark.parametrize("name", sorted({case.name for case in CASES}))
def test_rule_of_each_scenario(name: str, asked: dict[str, dict[str, Any]]) -> None:
    plan = RULES.pick(asked[name]["prompt"], asked[name]["max_new_tokens"])
    assert {case.rule for case in CASES if case.name == name} == {plan.name if plan else None}
    assert not plan or (plan.prompt, plan.wrapped) == (asked[name]["prompt"], False)


def test_scores(asked: dict[str, dict[str, Any]]) -> None:
    """As HELM's metrics have it, and no matter whether the engine stops early for the rule."""
    wanted = []
    for case in CASES:
        request = asked[case.name]
        plan = RULES.pick(request["prompt"], request["max_new_tokens"])
        ruled = text_of(answer(plan, request, case.completion, early=False))
        assert ruled == text_of(answer(plan, request, case.completion, early=True)), case
        bare = text_of(answer(None, request, case.completion, early=False))
        wanted += [(case, bare, float(case.bare)), (case, ruled, float(case.ruled))]
    scored = helm("scores", [[case.metric, case.right, text] for case, text, _ in wanted])
    got = [(case, text, score) for (case, text, _), score in zip(wanted, scored, strict=True)]
    assert got == wanted


def test_every_rule_is_seen_at_work() -> None:
    shipped = set(load(RECIPES / "cpu.yaml").recipe.serve.rules)
    assert {case.rule for case in CASES if case.rule} | {"question"} == shipped


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [
        ("Question: Why?\nAnswer:", " So.\n\nAnd so.", " So.\n\nAnd so."),
        ("Question: Why?\nAnswer:", " So.\nQuestion: How?", " So."),
        ("Be brief.\n\nInput: 3\nOutput:", " 4\n\nInput: 4\nOutput: 5", " 4"),
    ],
)
def test_a_single_question_may_have_paragraphs(prompt: str, completion: str, text: str) -> None:
    plan = RULES.pick(prompt, 100)
    assert plan and plan.name == "question"
    request = {"max_new_tokens": 100, "stops": []}
    assert text_of(answer(plan, request, completion, early=False)).rstrip() == text


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("The capital of France is ", 50),
        ("The capital of France is ", 1),
        ("Write a poem.\n\nIt is about A. and B. things.", 200),
        ("User: hello\n\nAssistant:", 400),
        ("def f(x):\n\n    return", 128),
        ("Q: Who wrote Hamlet?\n\nA: Shakespeare, in 1601", 400),
    ],
)
def test_plain_requests_have_no_rule(prompt: str, tokens: int) -> None:
    assert RULES.pick(prompt, tokens) is None


def test_a_question_without_numbers_in_its_shots_is_no_gsm() -> None:
    plan = RULES.pick("Q: Who wrote Ivanhoe?\nA: Scott.\n\nQ: Who wrote Hamlet?\nA:", 400)
    assert plan and plan.name == "few_shot"
    said = " Shakespeare wrote it in 1601"
    assert text_of(answer(plan, {"max_new_tokens": 400, "stops": []}, said, early=True)) == said


def test_a_good_answer_keeps_its_reasoning(asked: dict[str, dict[str, Any]]) -> None:
    request = asked["gsm"]
    plan = RULES.pick(request["prompt"], 400)
    said = f"{SUM} The answer is 11."
    assert text_of(answer(plan, request, said, early=False)) == said


def test_a_letter_ends_its_generation_soon(asked: dict[str, dict[str, Any]]) -> None:
    plan = RULES.pick(asked["choice_2"]["prompt"], 64)
    assert plan and plan.enough
    assert plan.enough(" B\n\n")
    words = " B. Stop, because one must not go on like that for ever"
    seen = next(n for n in range(len(words)) if plan.enough(words[:n]))
    assert seen < len(words)
