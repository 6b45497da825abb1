"""What the model's own files say, where they lie on this disk: they are what will be trained."""

import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

from tools.base_model import config_file
from tools.check.rules.base import Facts, Faults, fail, plain, warn
from tools.check.rules.card import attention
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS, Kind, family_kind, kind_of, window
from tools.recipe.schema import Recipe

_ARCH = {"hidden": "hidden_size", "layers": "num_hidden_layers", "vocab": "vocab_size"}
_LARGE = 50e6  # bytes of a tokenizer.json that takes too long to look through
#: Models whose attention scores are capped where config.json does not say.
_CAPPED = ("gemma2", "t5gemma", "vaultgemma")
#: Attentions of transformers that take the cap (``softcap``).
_CAPS = {"eager", "flex_attention", "flash_attention_2", "flash_attention_3"}
#: What transformers' models say of themselves, by the attention that they may be computed with.
_SAYS = {
    "sdpa": "_supports_sdpa",
    "flash_attention_2": "_supports_flash_attn",
    "flash_attention_3": "_supports_flash_attn",
    "flex_attention": "_supports_flex_attn",
}


def _read(recipe: Recipe) -> tuple[Path | None, dict[str, Any], str]:
    """The folder, its configuration, and the key that names it; None where nothing is here."""
    key = "model.path" if recipe.model.source == "local" else "model.id"
    path = config_file(recipe.model)
    config = read_json(path) if path else None
    return (path.parent, config, key) if path and isinstance(config, dict) else (None, {}, key)


def trainable(recipe: Recipe, facts: Facts) -> Faults:
    """The recipe's kind is the folder's, and transformers has such a model, of whole weights."""
    folder, config, key = _read(recipe)
    if folder is None:
        yield from _family(recipe)
        return
    name, wanted = str(config.get("model_type", "")), KINDS[recipe.model.kind]
    right, known = kind_of(name), model_types(wanted)
    if right != wanted and name in model_types(right):
        said = f"model.kind {wanted.name}: {folder} is {right.said}: its config.json says "
        said += f"model_type {name}"
        yield fail("model.kind", said, _other_kind(right))
    elif known and name not in known:
        said = (
            f"{key}: {folder}: its config.json says model_type {name or 'nothing'}: the installed"
        )
        said += f" transformers has no model of kind {wanted.name} of it{nearest(name, known)}"
        yield fail(
            key, said, "take another base; docs/recipes.md lists layers of models that train"
        )
    if config.get("quantization_config"):
        said = f"{key}: {folder}: its weights are quantized: no adapter can be merged into them"
        yield fail(key, said, "take the model it was made from; quantize.format comes after")


def attended(recipe: Recipe, facts: Facts) -> Faults:
    """Transformers computes the model's attention so: a trainer would say so a minute later."""
    name, wanted = _model_type(recipe), attention(recipe.train)
    said = attentions(name)
    if wanted in _SAYS and said is not None and wanted not in said:
        key = "train.attn_implementation"
        near = "sdpa" if "sdpa" in said else "eager"
        yield fail(key, f"{key} {wanted}: transformers has none for {name}", f"set {key}={near}")


def capped(recipe: Recipe, facts: Facts) -> Faults:
    """A cap on attention's scores is computed; transformers' sdpa leaves it out and says nothing.

    findings/transformers-5.20-gemma-2-loses-its-score-cap.sh
    """
    _, config, _ = _read(recipe)
    cap = config.get("attn_logit_softcapping", _model_type(recipe) in _CAPPED)
    wanted = attention(recipe.train) or "sdpa"  # what transformers takes where nobody says
    if cap and wanted.partition("@")[0].partition(":")[0] not in _CAPS:
        key = "train.attn_implementation"
        said = f"{key} {wanted} leaves out the cap on this model's attention scores: it would learn"
        said += " as another model than is served"
        yield fail(key, said, f"set {key}=flex_attention, or eager with train.sample_packing=false")


def _model_type(recipe: Recipe) -> str:
    """By the folder; where none lies on this disk by the recipe's numbers, or the family's name."""
    _, config, _ = _read(recipe)
    arch = recipe.model.arch
    told = config.get("model_type") or (arch and arch.encoder and arch.encoder.type)
    if told:
        return str(told)
    known, family = model_types(KINDS[recipe.model.kind]), plain(recipe.model.family)
    return next((name for name in sorted(known) if plain(name) == family), "")


def _other_kind(right: Kind) -> str:
    return f"set model.kind={right.name}, or compose the model's layer"


# Of the challenge's families those whose code the hub has and transformers 5.20 has not.
_HUB_CODE = {"decilm6b", "internlm"}


def _family(recipe: Recipe) -> Faults:
    """Where no file tells it, the family does: nothing is downloaded for what cannot be trained."""
    name, wanted = recipe.model.family, KINDS[recipe.model.kind]
    if plain(name) in _HUB_CODE:
        said = f"model.family {name}: its models need code from the hub, which transformers has"
        remedy = "take another base; docs/recipes.md lists layers of models that train"
        yield fail("model.family", f"{said} none of", remedy)
    right = family_kind(name)
    if right is not None and right != wanted:
        said = f"model.kind {wanted.name}: a model of family {name} is {right.said}"
        yield fail("model.kind", said, _other_kind(right))


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
    most = window(config)
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
def model_types(kind: Kind) -> frozenset[str]:
    """The ``model_type`` of each model of a kind, from transformers' source: it is not imported.

    Empty where the table is not found: then nobody is refused.
    """
    text = _source("auto/modeling_auto.py") or ""
    table = re.search(rf"^{kind.table}\b.*?^\)", text, re.MULTILINE | re.DOTALL)
    return frozenset(re.findall(r'\(\s*"([\w.-]+)",', table.group())) if table else frozenset()


@functools.cache
def attentions(model_type: str) -> frozenset[str] | None:
    """The attentions beside ``eager`` that transformers has for a model, from its source.

    None where that is not found: then nobody is refused.
    """
    folder = model_type.replace("-", "_")
    text = _source(f"{folder}/modeling_{folder}.py") if folder.isidentifier() else None
    if text is None:
        return None
    return frozenset(name for name, flag in _SAYS.items() if re.search(rf"{flag}\w* = True", text))


def _source(name: str) -> str | None:
    """A file of transformers' models; None where it has none."""
    found = importlib.util.find_spec("transformers")
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(found.submodule_search_locations[0], "models", name)
    return file.read_text(encoding="utf-8") if file.is_file() else None
