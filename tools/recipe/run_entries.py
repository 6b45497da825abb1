"""HELM's run entries, as ``eval.tiers`` lists them: spelt as HELM spells them?

HELM says so minutes later, one entry at a time. Importing it takes seconds and a venv of its own,
so ``python -m tools.recipe.run_entries`` reads its source and writes ``schemas/helm.json``.
"""

import ast
import functools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.recipe import axolotl_schema
from tools.recipe.faults import nearest
from tools.recipe.yaml_map import KeyPath

STORED = Path(__file__).parent / "schemas" / "helm.json"
HELM = Path(".venv-helm")
# Scenarios of the hidden stage that HELM has no more; tools.evaluate.helm.hidden brings them back.
HIDDEN = (
    "sam_sum",
    "corr2cause",
    "ethics_justice",
    "ethics_commonsense",
    "ethics_virtue",
    "ethics_deontology",
    "ethics_utilitarianism",
)

_ANY = "**"  # stands for every name, where a run spec takes all
_OURS: dict[str, dict[str, bool]] = {
    "oneday": {
        "skill": False
    },  # tools.evaluate.helm.plugin; tools.evaluate.stage asks once a skill
    **{name: {} for name in HIDDEN},
}
_MODEL = ("model", "model_deployment", "tokenizer")


def entry_faults(section: Any) -> dict[KeyPath, tuple[str, bool]]:
    """Look at every entry of the recipe's ``eval`` section.

    Args:
        section: as composed; what is wrong in shape is left to the schema.

    Returns:
        As :func:`tools.recipe.faults.find`: by key path, what is wrong and that the key is not
        missing.
    """
    tiers = section.get("tiers") if isinstance(section, dict) else None
    found: dict[KeyPath, tuple[str, bool]] = {}
    for tier, entries in tiers.items() if isinstance(tiers, dict) else []:
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            faults = wrong(entry) if isinstance(entry, str) else []
            if faults:
                found["eval", "tiers", str(tier), index] = ("; ".join(faults), False)
    return found


def wrong(entry: str) -> list[str]:
    """What HELM would refuse in ``name:argument=value,argument=value``."""
    name, words = parts(entry)
    specs = {**_stored()["run_specs"], **_OURS}
    if name not in specs:
        return [f"HELM has no run spec {name!r}{nearest(name, specs)}"]
    keys = [word.partition("=")[0] for word in words]
    found = [f"{word!r}: write argument=value" for word in words if "=" not in word]
    found += [f"{key} twice; keep one" for key, count in Counter(keys).items() if count > 1]
    found += _unknown(name, [word.partition("=")[0] for word in words if "=" in word], specs[name])
    missing = [key for key, needed in specs[name].items() if needed and key not in keys]
    return found + [f"{name} needs {key}=…" for key in missing]


def parts(entry: str) -> tuple[str, list[str]]:
    """An entry's name and its ``argument=value`` words."""
    name, colon, rest = entry.partition(":")
    return name, rest.split(",") if colon else []


def without_model(entry: str) -> str:
    """An entry without the arguments that say who is asked."""
    name, words = parts(entry)
    own = _stored()["run_specs"].get(name, {})  # synthetic_efficiency has a tokenizer of its own
    who = [key for key in _MODEL if key not in own]
    kept = [word for word in words if word.partition("=")[0] not in who]
    return f"{name}:{','.join(kept)}" if kept else name


def _unknown(name: str, keys: list[str], taken: dict[str, bool]) -> Iterator[str]:
    known = [*taken, *(key for key in _stored()["expanders"] if key not in _MODEL)]
    for key in keys:
        if key in _MODEL and key not in taken:
            yield f"leave {key}= out: base and tuned model are asked, both of ours"
        elif key not in known and _ANY not in taken:
            yield f"{name} takes no {key}{nearest(key, known)}"


@functools.cache
def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    return stored


def generate(venv: Path = HELM) -> dict[str, Any]:
    """Read the names from the HELM that is installed.

    Args:
        venv: the environment that holds it.

    Returns:
        ``run_specs``: by name, its arguments and whether each must be given; ``expanders``: the
        arguments that every run spec takes.
    """
    folder = next(venv.glob("lib/python*/site-packages/helm/benchmark"))
    specs: dict[str, dict[str, bool]] = {}
    for file in sorted((folder / "run_specs").rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                specs |= {name: _arguments(node.args) for name in _names(node)}
    return {"run_specs": specs, "expanders": _expanders(folder / "run_expander.py")}


def _names(function: ast.FunctionDef) -> Iterator[str]:
    """What ``@run_spec_function("name")`` calls a function."""
    for made in function.decorator_list:
        if isinstance(made, ast.Call) and ast.unparse(made.func) == "run_spec_function":
            yield ast.literal_eval(made.args[0])


def _arguments(arguments: ast.arguments) -> dict[str, bool]:
    plain = arguments.args
    needed = len(plain) - len(arguments.defaults)
    found = {one.arg: index < needed for index, one in enumerate(plain)}
    found |= {
        one.arg: default is None
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    }
    return found | ({_ANY: False} if arguments.kwarg else {})


def _expanders(file: Path) -> list[str]:
    """The ``name`` of every class in ``RUN_EXPANDER_SUBCLASSES``."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    listed = {
        ast.unparse(item)
        for node in body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RUN_EXPANDER_SUBCLASSES"
        if isinstance(node.value, ast.List)
        for item in node.value.elts
    }
    return sorted(
        ast.literal_eval(line.value)
        for node in body
        if isinstance(node, ast.ClassDef) and node.name in listed
        for line in node.body
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "name"
    )


if __name__ == "__main__":
    axolotl_schema.write(generate(), STORED)
