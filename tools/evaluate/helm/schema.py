"""The schema that helm-summarize shows a suite by: HELM's, BIG-bench, the challenge, our skills.

Runs inside the HELM venv, as a program (HELM's own schema is read there)::

    python tools/evaluate/helm/schema.py OUT.yaml benchmark_output/runs/SUITE
    helm-summarize --suite SUITE --schema-path OUT.yaml

HELM's schemas have no group for a BIG-bench task, nor for a scenario of a plug-in, and
helm-summarize leaves out what has no group. Added are:

- a group a BIG-bench task of the suite (its value is over the shot counts), and ``big_bench``;
- a group a hidden scenario, their names, columns and splits those of the organizers' schema (their
  fork of HELM, perlitz/private-helm, schema.yaml), and ``ethics``;
- ``challenge_open`` and ``challenge_hidden``: the tasks of either stage beside each other. HELM's
  "mean win rate" there is over the columns of one table: it is not the challenge's score;
- ``oneday``: the skills of a run, those scored by the exact answer in one column, those by the
  last number in another.
"""

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

Group = dict[str, Any]

BASE = "schema_classic.yaml"  # helm-summarize's default, and what the challenge was shown by
BIG_BENCH = "big_bench_"
ETHICS = ("justice", "commonsense", "virtue", "deontology", "utilitarianism")
ASIDE = [  # what the tables of several scenarios leave out: the challenge has no such columns
    "bbq_metrics",
    "calibration",
    "efficiency",
    "general_information",
    "summarization_metrics",
    "toxicity",
]


def write(out: Path, suite_folder: Path) -> None:
    """Write the schema for a suite.

    Args:
        out: the YAML file; made whole or not at all.
        suite_folder: ``benchmark_output/runs/SUITE``, the run specs of which say what BIG-bench
            tasks there are.
    """
    base = resources.files("helm.benchmark.static").joinpath(BASE).read_text(encoding="utf-8")
    schema = extend(yaml.safe_load(base), tasks(suite_folder))
    temporary = out.with_name(f".{out.name}.tmp")
    text = yaml.safe_dump(schema, sort_keys=False, allow_unicode=True)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out)


def tasks(suite_folder: Path) -> list[str]:
    """The BIG-bench tasks of a suite, sorted."""
    files = suite_folder.glob("*/run_spec.json")
    groups = {name for file in files for name in json.loads(file.read_text("utf-8"))["groups"]}
    return sorted(g.removeprefix(BIG_BENCH) for g in groups if g.startswith(BIG_BENCH))


def extend(schema: dict[str, Any], big_bench: list[str]) -> dict[str, Any]:
    """A schema of HELM's, with our groups before its own.

    Args:
        schema: what the YAML file holds.
        big_bench: names of BIG-bench tasks.
    """
    skills = [{"name": n, "split": "test"} for n in ("exact_match", "exact_match_indicator")]
    columns = {"name": "oneday_accuracy", "display_name": "Accuracy", "metrics": skills}
    oneday = _scenario("oneday", "Skills of the run", ["oneday_accuracy"], "test")
    return {
        **{key: value for key, value in schema.items() if key != "adapter"},  # HELM warns of it
        "metric_groups": [*schema["metric_groups"], columns],
        "run_groups": [
            *_stages(),
            *_big_bench(big_bench),
            *_hidden(),
            oneday,
            *schema["run_groups"],
        ],
    }


def _stages() -> list[Group]:
    open_stage = ["mmlu", "truthful_qa", "big_bench", "gsm", "bbq", "summarization_cnndm"]
    hidden = ["sam_sum", "corr2cause", "math_chain_of_thought", "ethics", "summarization_cnndm"]
    return [
        _parent("challenge_open", "LLM Efficiency Challenge: open stage", open_stage),
        _parent("challenge_hidden", "LLM Efficiency Challenge: hidden stage", hidden),
    ]


def _big_bench(names: list[str]) -> list[Group]:
    groups = [BIG_BENCH + name for name in names]
    return [
        _parent("big_bench", "BIG-bench", groups),
        *(
            _scenario(group, f"BIG-bench: {name}", ["accuracy", "general_information"], "test")
            for group, name in zip(groups, names, strict=True)
        ),
    ]


def _hidden() -> list[Group]:
    ethics = [f"ethics_{name}" for name in ETHICS]
    columns = {
        "sam_sum": ["accuracy", "bias"],
        "corr2cause": ["accuracy"],
        **{name: ["accuracy", "robustness", "fairness"] for name in ethics},
    }
    mains = {"sam_sum": "rouge_2"}
    return [
        _parent("ethics", "ETHICS", ethics),
        *(
            _scenario(name, name, [*shown, "general_information"], "valid", mains.get(name))
            for name, shown in columns.items()
        ),
    ]


def _parent(name: str, title: str, subgroups: list[str]) -> Group:
    """A group that shows others beside each other."""
    return {
        "name": name,
        "display_name": title,
        "description": title,
        "category": "All scenarios",
        "subgroups": subgroups,
        "subgroup_metric_groups_hidden": list(ASIDE),
    }


def _scenario(
    name: str, title: str, columns: list[str], split: str, main: str | None = None
) -> Group:
    """A group of run specs."""
    return {
        "name": name,
        "display_name": title,
        "description": title,
        "metric_groups": columns,
        "environment": {"main_name": main or "exact_match", "main_split": split},
        "taxonomy": {"task": "?", "what": "?", "who": "?", "when": "?", "language": "English"},
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
