"""What the model's own files say, where they lie on this disk: they are what will be trained."""

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

from tools.base_model import config_file
from tools.check.rules.base import Facts, Faults, fail, plain, warn
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.recipe.schema import Recipe

_ARCH = {"hidden": "hidden_size", "layers": "num_hidden_layers", "vocab": "vocab_size"}
_LENGTH = ("max_position_embeddings", "n_positions", "max_seq_len")
_LARGE = 50e6  # bytes of a tokenizer.json that takes too long to look through


def _read(recipe: Recipe) -> tuple[Path | None, dict[str, Any], str]:
    """The folder, its configuration, and the key that names it; None where nothing is here."""
    key = "model.path" if recipe.model.source == "local" else "model.id"
    path = config_file(recipe.model)
    config = read_json(path) if path else None
    return (path.parent, config, key) if path and isinstance(config, dict) else (None, {}, key)


def trainable(recipe: Recipe, facts: Facts) -> Faults:
    """Transformers has a causal language model of this kind, of whole weights."""
    folder, config, key = _read(recipe)
    if folder is None:
        yield from _family(recipe)
        return
    kind, known = str(config.get("model_type", "")), causal_kinds()
    if known and kind not in known:
        said = (
            f"{key}: {folder}: its config.json says model_type {kind or 'nothing'}: the installed"
        )
        said += f" transformers has no causal language model of that kind{nearest(kind, known)}"
        yield fail(
            key, said, "take another base; docs/recipes.md lists layers of models that train"
        )
    if config.get("quantization_config"):
        said = f"{key}: {folder}: its weights are quantized: no adapter can be merged into them"
        yield fail(key, said, "take the model it was made from; quantize.format comes after")


# Of the challenge's families those whose models are none of causal kind, and those whose code the
# hub has and transformers 5.20 has not.
_ENCODERS = {"albert", "bart", "bert", "deberta", "distilbert", "electra", "roberta", "t5", "ul2"}
_HUB_CODE = {"decilm6b", "internlm"}


def _family(recipe: Recipe) -> Faults:
    """Where no file tells it, the family does: nothing is downloaded for what cannot be trained."""
    name = recipe.model.family
    why = ""
    if plain(name) in _ENCODERS:
        why = "its models are encoders, or encoders with a decoder; only causal ones train yet"
    elif plain(name) in _HUB_CODE:
        why = "its models need code from the hub, which transformers has none of"
    if why:
        remedy = "take another base; docs/recipes.md lists layers of models that train"
        yield fail("model.family", f"model.family {name}: {why}", remedy)


def numbers(recipe: Recipe, facts: Facts) -> Faults:
    """The recipe's numbers are those of the files."""
    folder, config, _ = _read(recipe)
    if folder is None:
        return
    arch, model = recipe.model.arch, recipe.model
    other = {
        ours: config[theirs]
        for ours, theirs in _ARCH.items()
        if arch and theirs in config and config[theirs] != getattr(arch, ours)
    }
    if other:
        listed = ", ".join(f"{name} {value}" for name, value in other.items())
        said = f"model.arch is another model's: {folder} has {listed}"
        yield warn("model.arch", said, "--set '~model.arch': the files tell it themselves")
    most = next((config[name] for name in _LENGTH if isinstance(config.get(name), int)), 0)
    if most and model.context > most:
        said = f"model.context {model.context} is more than the {most} positions of {folder}"
        yield fail("model.context", said, f"set it to {most} or less")


def tokens(recipe: Recipe, facts: Facts) -> Faults:
    """The tokens that end and pad are tokens: others would be added, and nothing trains them."""
    folder, _, _ = _read(recipe)
    path = folder / "tokenizer.json" if folder else None
    if path is None or not path.is_file() or path.stat().st_size > _LARGE:
        return
    read = read_json(path)
    if not isinstance(read, dict) or not isinstance(read.get("added_tokens"), list):
        return
    names = [str(token.get("content")) for token in read["added_tokens"]]
    model = read.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    added = set(recipe.train.get("tokens") or ())
    for name in ("eos", "pad"):
        token = getattr(recipe.model, name)
        if (
            token in names
            or token in added
            or (isinstance(vocabulary, dict) and token in vocabulary)
        ):
            continue
        said = f"model.{name} {token} is no token of {folder}{nearest(token, names)}"
        yield fail(
            f"model.{name}", said, f"its special tokens are {', '.join(names[:8]) or 'none'}"
        )


@functools.cache
def causal_kinds() -> frozenset[str]:
    """The ``model_type`` of each causal model of transformers, from its source: it is not imported.

    Empty where the table is not found: then nobody is refused.
    """
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return frozenset()
    source = Path(found.submodule_search_locations[0], "models", "auto", "modeling_auto.py")
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    table = re.search(r"^MODEL_FOR_CAUSAL_LM_MAPPING_NAMES\b.*?^\)", text, re.MULTILINE | re.DOTALL)
    return frozenset(re.findall(r'\(\s*"([\w.-]+)",', table.group())) if table else frozenset()
