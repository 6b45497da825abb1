"""The YAML block at a card's head, as the hub reads it."""

from collections.abc import Iterator
from typing import Any

from tools.publish import licences
from tools.publish.licences import HUB_ID
from tools.recipe.schema import Recipe, Source

Part = dict[str, Any]


def block(recipe: Recipe, name: str, scores: Part | None) -> str:
    """The block, between its two lines of dashes.

    Args:
        recipe: of the run.
        name: of the model.
        scores: the report's scores part; None where nothing was evaluated.
    """
    from huggingface_hub import ModelCardData

    licence = licences.hub_id(recipe.model.licence)
    more: dict[str, Any] = {}
    if licence == "other":
        more["license_name"] = licences.link_name(recipe.model.licence)
    if base := base_model(recipe):
        more |= {"base_model": base, "base_model_relation": "finetune"}
    if results := list(_results(scores)):
        more |= {"model_name": name, "eval_results": results}
    data = ModelCardData(
        license=licence,
        language=languages(recipe) or None,
        datasets=datasets(recipe) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=tags(recipe),
        **more,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def base_model(recipe: Recipe) -> str:
    """The base's id on the hub; empty where it came from elsewhere and may have none."""
    model = recipe.model
    return model.id if model.source != "local" and HUB_ID.fullmatch(model.id) else ""


def datasets(recipe: Recipe) -> list[str]:
    """The hub's data sets that were trained on."""
    paths = [one.path for one in recipe.data.sources.values() if one.kind == "hub"]
    return list(dict.fromkeys(path for path in paths if HUB_ID.fullmatch(path)))


def languages(recipe: Recipe) -> list[str]:
    """Languages of the rows, as far as the recipe tells: our own makers write English."""
    found = {lang for one in recipe.data.sources.values() for lang in _languages(one)}
    return sorted(found)


def _languages(source: Source) -> Iterator[str]:
    if source.kind == "generator":
        yield "en"
    steps = [options for step in source.operators for options in step.values()]
    for text in (source.language, *(getattr(step, "language", "") for step in steps)):
        if text:
            yield str(text)


def untold(recipe: Recipe) -> list[str]:
    """Sources whose language nothing tells."""
    return [name for name, one in recipe.data.sources.items() if not list(_languages(one))]


def tags(recipe: Recipe) -> list[str]:
    """What a search on the hub may ask for."""
    form = {"nf4": ["bitsandbytes", "4-bit"], "int8": ["bitsandbytes", "8-bit"]}
    adapter = recipe.train.get("adapter") or "full"
    plain = recipe.serve.weights == "merged"
    return ["oneday", "axolotl", str(adapter)] + (
        [] if plain else form.get(recipe.quantize.format, [])
    )


def _results(scores: Part | None) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    for spec in (scores or {}).get("run_specs", []):
        if spec["tuned"] is None:
            continue
        ends = spec["intervals"]["tuned"]
        sure = f", 95 % within {ends[0]:.3f} and {ends[1]:.3f}" if ends else ""
        yield EvalResult(
            task_type="text-generation",
            dataset_type=spec["name"],
            dataset_name=f"HELM {spec['scenario']}",
            metric_type=spec["metric"],
            metric_value=round(spec["tuned"], 4),
            metric_name=f"{spec['metric']}, {spec['instances']} questions{sure}",
        )
