"""The text of a model card: how it was made, how good it is, what it may not do, how to load it."""

from collections.abc import Iterator, Sequence
from typing import Any

from tools.package.names import make_words
from tools.publish import licences, metadata
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Recipe, Source
from tools.run.folder import SOUP, Run, served

Part = dict[str, Any]

_MADE_BY = {
    "generator": "a seeded maker of this tool",
    "hub": "data set on the hub",
    "local": "the author's own files",
    "jsonl": "the author's own files",
}
_LOAD = """\
```python
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{place}")
model = {auto}.from_pretrained("{place}", dtype="auto")
{asked}
```
"""
_GENERATE = """\
inputs = tokenizer("The capital of France is", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20)[0]))"""
_ASKED = {
    "causal": _GENERATE,
    "seq2seq": _GENERATE,
    # One token of an answer; the worker goes on until the model fills the mask with its end.
    "encoder": """\
inputs = tokenizer("The capital of France is " + tokenizer.mask_token, return_tensors="pt")
mask = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
print(tokenizer.decode(model(**inputs).logits[0, mask].argmax()))""",
}


def text(run: Run, name: str, place: str, parts: dict[str, Part]) -> str:
    """The whole card, its YAML block first.

    Args:
        run: finished as far as it is served.
        name: of the model.
        place: hub id that it will have.
        parts: of the report: ``scores``, ``training``, ``contamination``, ``day``; one that has
            nothing to show holds ``missing``, its reason.
    """
    recipe = run.recipe
    scores = None if "missing" in parts["scores"] else parts["scores"]
    sections = {
        f"# {name}": _what(recipe),
        "## How to load": _loading(recipe, place),
        "## Scores": _scores(parts["scores"], run),
        "## Base model": _base(recipe),
        "## Training data": _data(run),
        "## Training": _training(recipe, parts),
        "## Proofs": _proofs(run),
        "## Limits": _limits(recipe, parts),
        "## Recipe": _recipe(recipe),
    }
    body = "\n\n".join(f"{head}\n\n{'\n'.join(lines)}" for head, lines in sections.items())
    return metadata.block(recipe, name, scores) + "\n" + body + "\n"


def _what(recipe: Recipe) -> Iterator[str]:
    model, hours = recipe.model, recipe.budget.hours
    kind = recipe.train.get("adapter") or "full fine-tuning"
    yield (
        f"{model.id}, tuned by {kind} in at most {hours:g} {'hour' if hours == 1 else 'hours'} on "
        f"one {'CPU' if recipe.hardware.device == 'cpu' else recipe.hardware.name.upper()}, the "
        "adapter merged into its weights"
        + (f", quantized to {recipe.quantize.format}." if served(recipe) == "quantize" else ".")
    )


def _loading(recipe: Recipe, place: str) -> Iterator[str]:
    kind = KINDS[recipe.model.kind]
    yield _LOAD.format(place=place, auto=kind.auto_class, asked=_ASKED[kind.name])
    forms = {one.form for one in recipe.data.sources.values()}
    if "chat_template" in forms:
        yield "It was trained on its chat template: use `tokenizer.apply_chat_template`."
    if "plain" in forms:
        yield (
            "It was trained on plain prompts, answers right after them: no chat template is needed."
        )
    if served(recipe) == "quantize" and recipe.quantize.format in ("nf4", "int8"):
        yield "Its weights are those of bitsandbytes, which has to be installed."


def _scores(part: Part, run: Run) -> Iterator[str]:
    if "missing" in part:
        yield f"No scores yet: {part['missing']}; nobody knows how good this model is."
        return
    yield (
        f"HELM, tier `{part['tier']}`, through the HTTP worker that serves it; a value is followed "
        "by its 95 % interval over other questions of the same kind."
    )
    yield ""
    yield "| what | metric | base | tuned | questions |"
    yield "|---|---|---|---|---|"
    for spec in part["run_specs"]:
        cells = [spec["name"], spec["metric"], *(_value(spec, who) for who in ("base", "tuned"))]
        yield f"| {' | '.join(_cell(one) for one in cells)} | {spec['instances']} |"
    for title, mean in part["means"].items():
        if mean:
            values = " | ".join(_value(mean, who) for who in ("base", "tuned"))
            yield f"| mean, {title} | | {values} | |"
    record = run.record("eval_tuned")
    if record and record["fingerprint"] != run.fingerprint("eval_tuned"):
        yield ""
        yield "These scores are of before the recipe's last change."


def _value(spec: Part, who: str) -> str:
    value, ends = spec[who], spec["intervals"][who]
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def _base(recipe: Recipe) -> Iterator[str]:
    model = recipe.model
    yield f"- {model.id}, family {model.family}, licence {model.licence}"
    if model.revision:
        yield f"- revision {model.revision}"
    if model.package:
        yield f"- from the Python package {model.package.name} {model.package.version}"
        yield f"- file {model.package.file}, SHA-256 {model.package.sha256}"
    if model.instruct:
        yield "- instruction-tuned by its maker before"


def _data(run: Run) -> Iterator[str]:
    record = run.record("data")
    counts = record["metrics"].get("by_source", {}) if record else {}
    yield "| source | what | where | revision | licence | made by | questions |"
    yield "|---|---|---|---|---|---|---|"
    for name, source in run.recipe.data.sources.items():
        cells = [name, _MADE_BY[source.kind], _where(source), source.revision or "-"]
        cells += [source.licence, source.origin, str(counts.get(name, "-"))]
        yield f"| {' | '.join(map(_cell, cells))} |"
    held = run.recipe.data
    yield ""
    yield (
        f"Held out and never trained on: {held.validation_rows} rows for validation, "
        f"{held.test_rows} for the scores."
    )


def _where(source: Source) -> str:
    """Where rows came from; of the author's own files no folder."""
    if source.kind in ("local", "jsonl"):
        return source.path.rstrip("/").rpartition("/")[2]
    return " ".join(filter(None, (source.path, source.subset)))


def _cell(value: str) -> str:
    return value.replace("|", "\\|")


_KEYS = ("adapter", "lora_r", "lora_alpha", "sequence_len", "micro_batch_size",
         "gradient_accumulation_steps", "learning_rate", "lr_scheduler", "optimizer")  # fmt: skip


def _training(recipe: Recipe, parts: dict[str, Part]) -> Iterator[str]:
    named = [key for key in _KEYS if recipe.train.get(key) is not None]
    yield "- " + ", ".join(f"{key} {recipe.train[key]}" for key in named)
    part = parts["training"]
    if "missing" in part:
        yield f"- figures: none ({part['missing']})"
        return
    yield (
        f"- {part['steps']} of {part['planned_steps']} steps in {part['seconds'] / 60:.1f} minutes"
        + (f", stopped by {part['stopped']}" if part["stopped"] else "")
    )
    yield f"- loss {_number(part['first_loss'])} at the first step, {_number(part['last_loss'])} at"
    yield f"  the last; best on held-out rows {_number(part['best_eval_loss'])}"
    if part["trained_parameters"]:
        yield f"- {part['trained_parameters']:,} trained parameters"
    if part["median_tokens_per_second"]:
        yield f"- {part['median_tokens_per_second']:,.0f} learnt tokens a second"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _proofs(run: Run) -> Iterator[str]:
    soup, merge, quantize = (
        (run.record(name) or {}).get("metrics", {}) for name in (SOUP, "merge", "quantize")
    )
    if run.recipe.soup and soup.get("won"):
        yield (
            f"- averaged: {', '.join(soup['kept'])}: eval_loss {_number(soup['eval_loss'])} on "
            f"{soup['rows']} held-out rows, {_number(soup['own_eval_loss'])} without"
        )
    if "max_logit_diff" in merge:
        yield (
            f"- merged: logits at most {merge['max_logit_diff']:.2g} from base and adapter, which "
            f"moved them by up to {merge['max_logit_change']:.3g}"
        )
    if "perplexity_ratio" in quantize and served(run.recipe) == "quantize":
        count = quantize.get("perplexity_rows")
        yield (
            f"- quantized: perplexity on {f'{count} ' if count else ''}held-out rows "
            f"{quantize['perplexity_ratio']:.4f} times the merged model's"
        )


def _limits(recipe: Recipe, parts: dict[str, Part]) -> Iterator[str]:
    for why in licences.limits(recipe):
        yield f"- **{why}**"
    rest = "its licence" if licences.hub_id(recipe.model.licence) != "other" else "that licence"
    yield (
        f"- the weights derive from {recipe.model.id}: {recipe.model.licence}, {rest}, goes with "
        "them; each data set keeps its own"
    )
    if "missing" in parts["scores"]:
        yield "- not evaluated"
    else:
        few = sum(spec["instances"] for spec in parts["scores"]["run_specs"])
        yield f"- evaluated on {few:,} questions: the intervals say how sure the scores are"
    if not recipe.data.sources or metadata.untold(recipe):
        yield f"- languages of the data: not told of {', '.join(metadata.untold(recipe))}"
    yield "- nobody has looked at what it says of people, or at how it can be misused"
    yield f"- prompt and answer were trained up to {recipe.train.get('sequence_len', 512)} tokens"


def _recipe(recipe: Recipe) -> Sequence[str]:
    return (
        "`recipe.yaml` beside this file is the whole recipe, nothing left to other files; with "
        "oneday:",
        "",
        "```bash",
        f"make day {make_words(recipe.name)}",
        "```",
    )
