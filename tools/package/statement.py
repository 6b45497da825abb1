"""DATA.md: which data and which base model went into the weights, with licences and origins."""

from collections.abc import Sequence

from tools.recipe.schema import Model, Source
from tools.run.folder import Run

_KINDS = {
    "generator": "seeded maker in tools/data/skills.py",
    "local": "files in this folder",
    "jsonl": "file in this folder",
    "hub": "data set on the Hugging Face hub",
}


def render(run: Run, rows: Sequence[str]) -> str:
    """The text.

    Args:
        run: the finished run; its data stage tells how many questions each source gave.
        rows: the author's own data files, packed beside this file.
    """
    recipe, record = run.recipe, run.record("data")
    counts = record["metrics"].get("by_source", {}) if record else {}
    lines = [
        "# Data, base model and licences",
        "",
        "Nothing but what stands here went into the weights; `manifest.json` has the SHA-256 of",
        "the rows as they were trained on, of the base model's files, and of all made from them.",
        "",
        "## Base model",
        "",
        *_model(recipe.model),
        "",
        "## Training data",
        "",
        "| source | what | where | revision | licence | made by | questions |",
        "|---|---|---|---|---|---|---|",
        *(_row(name, each, counts.get(name)) for name, each in recipe.data.sources.items()),
        "",
        f"Held out and never trained on: {recipe.data.validation_rows} rows for validation and "
        f"{recipe.data.test_rows} for HELM.",
    ]
    if rows:
        lines += ["", f"The author's own rows are here in full: {', '.join(rows)}."]
    lines += ["", "## Licences", "", *_licences(recipe.model)]
    return "\n".join(lines) + "\n"


def _model(model: Model) -> list[str]:
    found = [f"- {model.id}, family {model.family}, licence {model.licence}"]
    if model.revision:
        found.append(f"- revision {model.revision}")
    if model.package:
        each = model.package
        found.append(
            f"- from the Python package {each.name} {each.version}, file {each.file}, SHA-256 "
            f"{each.sha256}"
        )
    tuned = "instruction-tuned by its maker, so not eligible for the challenge"
    return [*found, f"- {tuned}"] if model.instruct else found


def _row(name: str, source: Source, count: int | None) -> str:
    where = " ".join(filter(None, (source.path, source.subset)))
    if source.kind == "hub":
        where += f" ({source.split})"
    cells = [name, _KINDS[source.kind], where, source.revision or "-", source.licence]
    cells += [source.origin, "-" if count is None else str(count)]
    return f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |"


def _licences(model: Model) -> list[str]:
    return [
        "- the code in this folder: Apache-2.0 (`LICENSE`)",
        f"- the tuned weights: derived from {model.id}, under its licence, {model.licence}",
        "- each data set: its own, as above",
    ]
