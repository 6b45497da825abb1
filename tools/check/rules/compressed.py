"""What llm-compressor makes: the family, groups, keys beside them, the package itself."""

import shutil
from collections.abc import Iterator
from typing import Any

from tools.base_model import config_file
from tools.check.rules.base import Facts, Faults, fail, warn
from tools.check.rules.targets import kind
from tools.errors import UserError
from tools.files import read_json
from tools.recipe.arch import read
from tools.recipe.formats import made_of, not_made
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Quantize, Recipe
from tools.run import compressed

# Kinds without a layer that is made smaller, what theirs are, and what can be done: Conv1D is no
# target, and a subclass of nn.Linear is rounded, but stored whole (compressed-tensors 0.19.0,
# COMPRESSIBLE_MODULE_TYPES).
_NO_LINEAR = {
    "gpt2": ("Conv1D", "set quantize.format=nf4, int8 or none"),
    "falcon": ("FalconLinear", "set quantize.format=none"),
}
# Kinds that AWQ and SmoothQuant know the norms of; elsewhere they would look for Llama's names.
_SMOOTHED = {"llama", "mistral", "qwen2", "qwen3"}
_WIDTHS = ("hidden_size", "n_embd", "d_model", "intermediate_size", "n_inner", "ffn_dim")
# Keys that only these formats have, and the values that say nothing.
OWN: dict[str, Any] = {
    "modifier": "",
    "group_size": 0,
    "smoothing_strength": 0.0,
    "ignore": [],
    "num_calibration_samples": 256,
    "max_seq_length": 2048,
}


def formats(recipe: Recipe, facts: Facts) -> Faults:
    """The format can be made of this model, here, in the way that the recipe says."""
    wanted, kind_name = recipe.quantize, recipe.model.kind
    if not made_of(wanted.format, kind_name):
        said = f"quantize.format {wanted.format}: {recipe.model.id} is {KINDS[kind_name].said}: "
        yield fail("quantize.format", said + not_made(wanted.format), "set it to int8, nf4 or none")
        return
    if wanted.format == "int8_int4" and _tied(recipe):
        said = (
            f"quantize.format int8_int4: {recipe.model.id} tells words by its embeddings; torchao"
        )
        said += " packs that matrix as a head, and transformers 5.20 does not load the two back"
        yield fail("quantize.format", said, "set it to int8, nf4 or w8a8")
    if wanted.format not in compressed.FORMATS:
        for key in _set(wanted):
            said = f"quantize.{key} is llm-compressor's, which does not make {wanted.format}"
            yield fail(f"quantize.{key}", said, "leave it out, or set quantize.format=w4a16")
        return
    yield from _ways(wanted)
    yield from _family(recipe)
    yield from _groups(recipe)
    yield from _package(recipe)


def _tied(recipe: Recipe) -> bool:
    """Whether the head is the embeddings' matrix: the model's own file tells, or the recipe."""
    path = config_file(recipe.model)
    try:
        arch = read(path) if path else recipe.model.arch
    except UserError:  # another rule tells
        return False
    return bool(arch and arch.tied)


def _set(wanted: Quantize) -> list[str]:
    return [key for key, silent in OWN.items() if getattr(wanted, key) != silent]


def _ways(wanted: Quantize) -> Faults:
    """What makes the format, and numbers that mean something."""
    form = compressed.FORMATS[wanted.format]
    if compressed.modifier_of(wanted) not in form.modifiers:
        said = f"quantize.modifier {wanted.modifier} is not for {wanted.format}"
        yield fail("quantize.modifier", said, f"set it to {' or '.join(form.modifiers)}")
    if wanted.smoothing_strength and not form.smoothed:
        said = f"quantize.smoothing_strength: {wanted.format} has no whole numbers to smooth for"
        yield fail("quantize.smoothing_strength", said, "set it to 0; it is for w8a8")
    if not 0 <= wanted.smoothing_strength <= 1:
        said = f"quantize.smoothing_strength is {wanted.smoothing_strength:g}"
        yield fail("quantize.smoothing_strength", said, "set it between 0 and 1, 0.8 is usual")
    if wanted.group_size and not form.grouped:
        said = f"quantize.group_size: {wanted.format} has one scale a row, no groups"
        yield fail("quantize.group_size", said, "leave it out; it is for w4a16 and w8a16")
    for key in ("num_calibration_samples", "max_seq_length"):
        if getattr(wanted, key) < 1:
            said = f"quantize.{key} is {getattr(wanted, key)}"
            yield fail(f"quantize.{key}", said, "set it to at least 1")


def _family(recipe: Recipe) -> Faults:
    """The model has layers for it."""
    wanted, built = recipe.quantize, kind(recipe.model)
    if built in _NO_LINEAR:
        layers, remedy = _NO_LINEAR[built]
        said = (
            f"quantize.format {wanted.format}: {recipe.model.id} ({built}) is built of {layers}, "
        )
        yield fail("quantize.format", said + "which llm-compressor stores whole", remedy)
    spread = {"modifier": wanted.modifier == "awq", "smoothing_strength": wanted.smoothing_strength}
    for key, on in spread.items():
        if on and built and built not in {*_SMOOTHED, *_NO_LINEAR}:
            said = f"quantize.{key} {getattr(wanted, key)}: llm-compressor does not know where "
            said += f"{recipe.model.id} ({built}) has its norms"
            remedy = "set it to gptq" if key == "modifier" else "set it to 0"
            yield fail(f"quantize.{key}", said, remedy)


def _groups(recipe: Recipe) -> Faults:
    """Groups fill the rows of every matrix."""
    size, key = compressed.group_of(recipe.quantize), "quantize.group_size"
    if not size:
        return
    if size not in compressed.GROUPS:
        said = f"{key} is {size}, for which vLLM has no kernel"
        yield fail(key, said, f"set it to one of {', '.join(map(str, compressed.GROUPS))}")
        return
    widths = sorted(set(_widths(recipe)))
    broken = [width for width in widths if size > 0 and width % size]
    if broken:
        fits = [one for one in compressed.GROUPS[:0:-1] if not any(w % one for w in widths)]
        said = f"{key}: groups of {size} do not fill the {broken[0]} inputs of a layer of "
        said += recipe.model.id
        yield fail(key, said, f"set it to {fits[0] if fits else compressed.PER_ROW}")


def _widths(recipe: Recipe) -> Iterator[int]:
    """Inputs of the layers, from the model's own file or the recipe's numbers."""
    path, arch = config_file(recipe.model), recipe.model.arch
    config = read_json(path) if path else None
    if isinstance(config, dict):
        yield from (config[name] for name in _WIDTHS if config.get(name))
        if config.get("head_dim"):
            yield config["head_dim"] * config.get("num_attention_heads", 1)
    elif arch:
        yield from (arch.hidden, arch.mlp)
        if arch.head_dim:
            yield arch.head_dim * arch.heads


def _package(recipe: Recipe) -> Faults:
    """What makes it is installed, and what reads it."""
    # Without a card this machine only looks at the recipe: another will run it.
    here = recipe.hardware.device == "cpu" or shutil.which("nvidia-smi")
    tell = fail if here else warn
    if compressed.ENVIRONMENT.packages() is None:
        said = f"quantize.format {recipe.quantize.format} is made by llm-compressor "
        said += f"{compressed.VERSION}, which is not in {compressed.ENVIRONMENT.folder().name}"
        yield tell("quantize.format", said, "make compress (20 MB, a quarter of a minute)")
    if compressed.versions(recipe.quantize)["compressed-tensors"] == "absent":
        said = f"quantize.format {recipe.quantize.format} is read by compressed-tensors, which is "
        said += "not installed"
        yield tell("quantize.format", said, "make setup")
