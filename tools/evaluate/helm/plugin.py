r"""HELM plug-in: the held-out questions of a run as HELM run specs, one a skill.

Runs inside the HELM venv, so it imports HELM and the standard library only::

    ONEDAY_DATA=runs/NAME/data helm-run --plugins tools/evaluate/helm/plugin.py
        --run-entries oneday:skill=SKILL,model=neurips/local ...

``ONEDAY_DATA`` is the data stage's folder: an environment variable, because HELM splits run entries
on commas and colons, which a path may hold, and so that no path ends up in the results. HELM asks
the rows of ``test.jsonl`` and takes its in-context examples from ``shots.jsonl``. A row::

    {"id": str, "skill": str, "input": str, "output": str, "choices": [str],
     "format": "letter" | "string" | "number" | "text", "verbatim": bool}

where only ``letter`` has choices, and its output is the text of the right one. There are 3 examples
in a prompt, or as many as the entry's ``max_train_instances=N`` says.

With ``verbatim`` (a user's own rows) the input is the prompt to the last sign and the output the
completion with its blank: nothing is put before, between or behind them but the blank line that
parts examples; letters have no choices, and are scored as strings are. ``text`` is long answers:
none is shown as an example, ROUGE-L scores them, F1 of their words beside it.

The prompts, with two examples (training rows have the same shape). Every example ends with a
newline and one more joins it to the next, so blank lines part them; nothing precedes the first; the
prompt ends with ``Answer:`` and no space, so a completion starts with one.

``letter``, as MMLU: 1 new token, no stop; the stripped completion must be the letter
(exact_match)::

    'Question: Q1\nA. a\nB. b\nAnswer: B\n\n'
    'Question: Q2\nA. c\nB. d\nAnswer: A\n\n'
    'Question: Q3\nA. e\nB. f\nAnswer:'

``string``: 40 new tokens, stop at a newline; the stripped completion must be the answer
(exact_match)::

    'Question: Q1\nAnswer: one\n\n'
    'Question: Q2\nAnswer: two\n\n'
    'Question: Q3\nAnswer:'

``number``, as GSM8K: 60 new tokens, stop at a blank line, so the answer may be reasoning that ends
in ``The answer is 7.``; only the last space-separated word counts, its full stop included
(exact_match_indicator)::

    'Question: Q1\nAnswer: 1 + 1 = 2. The answer is 2.\n\n'
    'Question: Q2\nAnswer: 3 + 4 = 7. The answer is 7.\n\n'
    'Question: Q3\nAnswer:'
"""

# mypy: disable-error-code="misc, no-any-return, untyped-decorator"
# (HELM is not in the venv that mypy reads: all it gives is Any there.)

import json
import os
from pathlib import Path
from typing import Any

from helm.benchmark.adaptation.adapter_spec import ADAPT_GENERATION, AdapterSpec
from helm.benchmark.adaptation.common_adapter_specs import (
    get_generation_adapter_spec,
    get_multiple_choice_joint_adapter_spec,
)
from helm.benchmark.metrics.common_metric_specs import (
    get_basic_generation_metric_specs,
    get_exact_match_metric_specs,
    get_generic_metric_specs,
)
from helm.benchmark.metrics.metric import MetricSpec
from helm.benchmark.run_spec import RunSpec, run_spec_function
from helm.benchmark.scenarios.scenario import (
    CORRECT_TAG,
    TEST_SPLIT,
    TRAIN_SPLIT,
    Input,
    Instance,
    Output,
    Reference,
    Scenario,
    ScenarioSpec,
)

FOLDER = "ONEDAY_DATA"
SPLITS = {"shots.jsonl": TRAIN_SPLIT, "test.jsonl": TEST_SPLIT}
SHOTS = 3
NOUNS = {"input_noun": "Question", "output_noun": "Answer", "max_train_instances": SHOTS}

MOST_TOKENS = 512  # of a long answer
BARE = {
    "instructions": "",
    "input_prefix": "",
    "input_suffix": "",
    "output_prefix": "",
    "output_suffix": "",
    "instance_prefix": "\n\n",
}


def read_rows(file: str, skill: str) -> list[dict[str, Any]]:
    """The rows of one skill.

    Raises:
        ValueError: the file has none.
    """
    path = Path(os.environ[FOLDER], file)
    with path.open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["skill"] == skill]
    if not rows:
        raise ValueError(f"{path} has no row with skill {skill!r}")
    return rows


def make_instance(row: dict[str, Any], split: str) -> Instance:
    """One row as HELM holds it.

    Raises:
        ValueError: the right answer is not exactly one of the choices.
    """
    choices = row.get("choices") or [row["output"]]
    if choices.count(row["output"]) != 1:
        raise ValueError(f"row {row['id']}: {row['output']!r} is not exactly one of {choices}")
    references = [
        Reference(Output(text=choice), tags=[CORRECT_TAG] if choice == row["output"] else [])
        for choice in choices
    ]
    return Instance(Input(text=row["input"]), references, split=split, id=row["id"])


class OnedayScenario(Scenario):
    """The questions of one skill."""

    name = "oneday"
    description = "Held-out questions of the skills a oneday run trains on."
    tags: list[str] = []  # noqa: RUF012 - HELM writes class attributes into scenario.json

    def __init__(self, skill: str) -> None:
        super().__init__()
        self.definition_path = (
            "tools/evaluate/helm/plugin.py"  # HELM would write where this file lies
        )
        self.skill = skill

    def get_instances(self, output_path: str) -> list[Instance]:
        """All in-context examples and questions; HELM samples from them."""
        return [
            make_instance(row, split)
            for file, split in SPLITS.items()
            for row in read_rows(file, self.skill)
        ]


def adapter(form: str) -> AdapterSpec:
    """How a format's prompt is built and its completion bounded."""
    if form == "letter":
        return get_multiple_choice_joint_adapter_spec(instructions="", max_tokens=1, **NOUNS)
    if form == "string":
        return get_generation_adapter_spec(max_tokens=40, stop_sequences=["\n"], **NOUNS)
    if form == "number":
        return get_generation_adapter_spec(max_tokens=60, stop_sequences=["\n\n"], **NOUNS)
    raise ValueError(f"format {form!r} is none of letter, string, number")


def verbatim_adapter(rows: list[dict[str, Any]]) -> AdapterSpec:
    """Prompts as they are; as many new tokens as the longest answer may take, and where it ends."""
    form, outputs = rows[0]["format"], [row["output"].strip() for row in rows]
    longest = max(map(len, outputs))
    ends = [end for end in ("\n", "\n\n") if not any(end in output for output in outputs)]
    return AdapterSpec(
        method=ADAPT_GENERATION,
        max_train_instances=0 if form == "text" else SHOTS,
        max_eval_instances=None,
        num_outputs=1,
        max_tokens=min(MOST_TOKENS, longest // 2 + 8),  # a token is two characters or more
        temperature=0.0,
        stop_sequences=ends[:1],
        **BARE,
    )


def metrics(form: str) -> list[MetricSpec]:
    """How a format is scored; numbers as HELM scores GSM8K, long texts by ROUGE-L and F1."""
    if form == "text":
        return get_basic_generation_metric_specs(["rouge_l", "f1_score"]) + (
            get_generic_metric_specs()
        )
    if form != "number":
        return get_exact_match_metric_specs()
    names = ["exact_match_indicator", "final_number_exact_match"]
    return get_basic_generation_metric_specs(names) + get_generic_metric_specs()


@run_spec_function("oneday")
def oneday(skill: str) -> RunSpec:
    """The run spec of one skill; its format is that of the skill's first question."""
    rows = read_rows("test.jsonl", skill)
    form = rows[0]["format"]
    return RunSpec(
        name=f"oneday:skill={skill}",
        # By __name__: HELM chooses what a plug-in's module is called.
        scenario_spec=ScenarioSpec(f"{__name__}.{OnedayScenario.__name__}", {"skill": skill}),
        adapter_spec=verbatim_adapter(rows) if rows[0].get("verbatim") else adapter(form),
        metric_specs=metrics(form),
        groups=["oneday"],
    )
