"""Run by HELM's own Python: its prompts for made-up questions, and its scores of answers to them.

``helm_side.py prompts`` prints ``{case: {prompt, max_new_tokens, stops}}``; ``helm_side.py scores``
reads ``[[metric, right answer, completion], ...]`` and prints the scores.
"""

# ruff: noqa: E402

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nltk

nltk.download = lambda *args, **kwargs: True  # HELM asks the network for it on import

from helm.benchmark.adaptation.adapters.generation_adapter import GenerationAdapter
from helm.benchmark.adaptation.adapters.multiple_choice_joint_adapter import (
    MultipleChoiceJointAdapter,
)
from helm.benchmark.run_specs import classic_run_specs, lite_run_specs, simple_run_specs
from helm.benchmark.scenarios.big_bench_scenario import BIGBenchScenario
from helm.benchmark.scenarios.scenario import CORRECT_TAG, Input, Instance, Output, Reference

ADAPTERS = {
    "multiple_choice_joint": MultipleChoiceJointAdapter,
    "generation": GenerationAdapter,
}
# A BIG-bench task of each kind: words of HELM's own, words of the task's own, no words at all.
BIG_BENCH: dict[str, dict[str, Any]] = {
    "choice": {"metrics": ["multiple_choice_grade"]},
    "choice_own_words": {
        "metrics": ["multiple_choice_grade"],
        "task_prefix": "Each paragraph orders objects.\n\n",
        "example_input_prefix": "",
        "example_output_prefix": "",
    },
    "generation": {"metrics": ["exact_str_match"]},
    "generation_own_words": {
        "metrics": ["exact_str_match"],
        "task_prefix": "Compute the result.\n\n",
        "example_input_prefix": "",
        "example_output_prefix": " = ",
    },
}
CHOICES = {
    "A train leaves. Which way?": ["North", "South", "East"],
    "Is it so?": ["No", "Yes", "Maybe"],
    "What now?": ["Go", "Stop", "Wait"],
}
ANSWERS = {"gsm": "5 + 6 = 11. The answer is 11.", "math": "It is $\\boxed{11}$."}


def instance(question: str, answers: list[str], number: int) -> Any:
    """A question whose second answer (or only one) is right."""
    right = min(1, len(answers) - 1)
    references = [
        Reference(Output(text=answer), tags=[CORRECT_TAG] if place == right else [])
        for place, answer in enumerate(answers)
    ]
    return Instance(Input(text=question), references, split="test", id=str(number))


def asked(spec: Any, questions: dict[str, list[str]], shots: int) -> dict[str, Any]:
    """The request for the last question, the others before it."""
    spec = replace(spec, max_train_instances=shots)
    adapter: Any = object.__new__(ADAPTERS[spec.method])
    adapter.adapter_spec = spec
    adapter.window_service = SimpleNamespace(
        fits_within_context_window=lambda **_: True, truncate_from_right=lambda text, _: text
    )
    made = [instance(*pair, number) for number, pair in enumerate(questions.items())]
    [state] = adapter.generate_requests(made[-1], 0, made[:shots])
    request = state.request
    return {
        "prompt": request.prompt,
        "max_new_tokens": request.max_tokens,
        "stops": request.stop_sequences,
    }


def big_bench() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each kind of task, with 0 to 2 examples."""
    for kind, task in BIG_BENCH.items():
        BIGBenchScenario.download_and_get_task = staticmethod(lambda *_, task=task: task)
        spec = classic_run_specs.get_big_bench_spec(kind, "").adapter_spec
        for shots in (0, 1, 2):
            questions = CHOICES if "choice" in kind else {q: [a[1]] for q, a in CHOICES.items()}
            yield f"{kind}_{shots}", asked(spec, questions, shots)


def oneday() -> Iterator[tuple[str, dict[str, Any]]]:
    """The formats of our own plug-in."""
    file = Path(__file__).parents[2] / "tools/evaluate/helm/plugin.py"
    spec = spec_from_file_location("plugin", file)
    assert spec and spec.loader
    plugin = module_from_spec(spec)
    spec.loader.exec_module(plugin)
    for form in ("letter", "string", "number"):
        questions = CHOICES if form == "letter" else {q: [a[1]] for q, a in CHOICES.items()}
        yield f"oneday_{form}", asked(plugin.adapter(form), questions, 2)


def prompts() -> dict[str, dict[str, Any]]:
    """Every case."""
    lite, classic, simple = lite_run_specs, classic_run_specs, simple_run_specs
    single = {question: [answers[1]] for question, answers in CHOICES.items()}
    specs = {
        "mmlu": (lite.get_mmlu_spec("anatomy"), CHOICES),
        "bbq": (classic.get_bbq_spec("all"), CHOICES),
        "truthful_qa": (classic.get_truthful_qa_spec("mc_single"), CHOICES),
        "simple_mcqa": (simple.get_simple_mcqa_run_spec(), CHOICES),
        "simple_short_answer_qa": (simple.get_simple_short_answer_qa_run_spec(), single),
        "synthetic_reasoning": (classic.get_synthetic_reasoning_spec("pattern_match"), single),
        "dyck_language": (classic.get_dyck_language_spec("3"), single),
        "gsm": (lite.get_gsm_spec(), {question: [ANSWERS["gsm"]] for question in CHOICES}),
        "math": (
            lite.get_math_spec("algebra", "1", use_chain_of_thought="True"),
            {question: [ANSWERS["math"]] for question in CHOICES},
        ),
        "cnndm": (classic.get_cnndm_summarization_spec(), single),
        "xsum": (classic.get_xsum_summarization_spec(), single),
    }
    made = {name: asked(spec.adapter_spec, pool, 2) for name, (spec, pool) in specs.items()}
    return {**made, **dict(big_bench()), **dict(oneday())}


def scores() -> list[float]:
    """By HELM's own metrics; a letter is right when HELM's map of letters has it as it stands."""
    from helm.benchmark.metrics import evaluate_reference_metrics as metrics
    from helm.benchmark.scenarios.math_scenario import is_equiv_chain_of_thought

    known = {
        "exact_match": metrics.exact_match,
        "last_word": metrics.exact_match_indicator,
        "last_number": metrics.final_number_exact_match,
        "boxed": is_equiv_chain_of_thought,
    }
    cases = json.load(sys.stdin)
    return [float(known[metric](right, text.strip())) for metric, right, text in cases]


if __name__ == "__main__":
    print("\n" + json.dumps({"prompts": prompts, "scores": scores}[sys.argv[1]]()))
