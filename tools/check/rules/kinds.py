"""Models that are not causal: what their kind has no use for, and what their folder must have."""

import random
from pathlib import Path

from tools.base_model import config_file, head, vocabulary
from tools.check.rules.base import Facts, Faults, fail, parts, warn
from tools.files import read_json
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS, Kind, without_meaning
from tools.recipe.schema import Recipe, Source

#: Axolotl has more of both; these are transformers' own.
_OPTIMIZERS = (
    "adafactor", "adagrad", "adamw_8bit", "adamw_bnb_8bit", "adamw_torch", "adamw_torch_fused",
    "lion_8bit", "lion_32bit", "paged_adamw_32bit", "paged_adamw_8bit", "rmsprop", "sgd",
)  # fmt: skip
_NO_SCHEDULES = ("one_cycle", "rex")


def _ours(recipe: Recipe) -> Kind | None:
    """The model's kind, where it is a trainer of ours that trains it."""
    kind = KINDS[recipe.model.kind]
    return kind if kind.parted else None


def keys(recipe: Recipe, facts: Facts) -> Faults:
    """What ``train`` and others say is said to a trainer that has a use for it."""
    kind = _ours(recipe)
    if kind is None:
        return
    for key, why in without_meaning(kind, recipe.train).items():
        yield fail(f"train.{key}", f"train.{key} {why}", f"--set '~train.{key}'")
    yield from _values(recipe, kind)
    if recipe.train.get("unfrozen_parameters") and recipe.train.get("adapter"):
        key = "train.unfrozen_parameters"
        said = f"{key}: an adapter is trained, and the model's own weights are all frozen"
        yield fail(key, said, f"--set '~{key}', or set train.adapter=null")
    if recipe.hardware.gpus > 1:
        said = f"hardware.gpus is {recipe.hardware.gpus}: {kind.said} is trained on one card"
        yield fail("hardware.gpus", said, "set hardware.gpus=1")
    for name, source in recipe.data.sources.items():
        if source.form == "chat_template":
            key = f"data.sources.{name}.form"
            said = f"{key} chat_template: {kind.said} has no chat template of its own"
            yield fail(key, said, f"set {key}=plain")


def _values(recipe: Recipe, kind: Kind) -> Faults:
    train = recipe.train
    if train.get("adapter") not in (None, "", "lora"):
        said = f"train.adapter {train['adapter']}: {kind.said} is trained with lora, or whole"
        yield fail("train.adapter", said, "set train.adapter=lora, or null")
    if (optimizer := train.get("optimizer")) and optimizer not in _OPTIMIZERS:
        said = f"train.optimizer {optimizer} is none of transformers' own"
        said += nearest(optimizer, _OPTIMIZERS)
        yield fail("train.optimizer", said, f"take one of {', '.join(_OPTIMIZERS)}")
    if (schedule := train.get("lr_scheduler")) in _NO_SCHEDULES:
        said = f"train.lr_scheduler {schedule} is Axolotl's own"
        yield fail("train.lr_scheduler", said, "set train.lr_scheduler=cosine")
    if train.get("excess_length_strategy") not in (None, "drop"):
        said = f"train.excess_length_strategy {train['excess_length_strategy']}: of a row that is "
        said += "too long whole examples go, from the first on"
        yield fail("train.excess_length_strategy", said, "set it to drop, or leave it out")
    if isinstance(train.get("gradient_checkpointing"), str):
        said = f"train.gradient_checkpointing {train['gradient_checkpointing']} is Axolotl's own"
        yield fail("train.gradient_checkpointing", said, "set it to true or false")


def checkpointing(recipe: Recipe, facts: Facts) -> Faults:
    """ALBERT is one layer, gone through many times: transformers refuses it checkpointing."""
    folder = _folder(recipe)
    config = read_json(folder / "config.json") if folder else None
    built = str(config.get("model_type", "")) if isinstance(config, dict) else ""
    is_one = (built or recipe.model.family.lower()) == "albert"
    if is_one and recipe.train.get("gradient_checkpointing"):
        said = "train.gradient_checkpointing: ALBERT does not support gradient checkpointing"
        yield fail("train.gradient_checkpointing", said, "set train.gradient_checkpointing=false")


def heads(recipe: Recipe, facts: Facts) -> Faults:
    """An encoder has a head that tells tokens, or is given one; a discriminator only if asked."""
    model, folder = recipe.model, _folder(recipe)
    if model.head and KINDS[model.kind].parted != "together":
        said = f"model.head {model.head} is of encoders, and model.kind is {model.kind}"
        yield fail("model.head", said, "leave it out")
    if _ours(recipe) is None:
        return
    if folder and (fault := head.fault(folder, model)):
        said, _, remedy = fault.partition(": set ")
        yield fail("model.head", said, f"set {remedy}")
    elif not folder and model.head != "new" and "discriminator" in parts(model.id):
        said = f"model.id {model.id} is a discriminator: it tells true tokens from false ones"
        yield fail("model.id", said, "take the generator, or set model.head=new")


def words(recipe: Recipe, facts: Facts) -> Faults:
    """The folder has a vocabulary, and in it the tokens that training puts around answers."""
    folder = _folder(recipe)
    if _ours(recipe) is None or folder is None:
        return
    for fault in vocabulary.faults_of(folder, recipe.model):
        if not fault.startswith(("model.eos", "model.pad")):  # another rule tells of those
            said, _, remedy = fault.removeprefix("model: ").partition("; ")
            key = "model.path" if recipe.model.source == "local" else "model.id"
            yield fail(key, f"{key}: {said}", remedy)


def letters(recipe: Recipe, facts: Facts) -> Faults:
    """A model without capitals answers ``a`` where HELM asks for ``A``."""
    folder, model = _folder(recipe), recipe.model
    small = vocabulary.lowers(folder) if folder else "uncased" in parts(model.id)
    if _ours(recipe) is None or not small:
        return
    asked = [name for name, source in recipe.data.sources.items() if _asks_letters(source)]
    if asked:
        said = f"{model.id} knows no capitals, and the answers of {', '.join(asked)} are letters: "
        said += "serving writes an answer of one letter as a capital"
        yield warn("model.id", said, "nothing to do, or take a cased model")


def _asks_letters(source: Source) -> bool:
    """Whether a source's answers are letters: its own word, or a look at one that is made."""
    from tools.data.skills import fault, maker

    if source.kind != "generator" or fault(source.path):
        return source.answer == "letter"
    return maker(source.path)(random.Random(0)).format == "letter"


def _folder(recipe: Recipe) -> Path | None:
    """The base's folder, where it lies on this disk already."""
    path = config_file(recipe.model)
    return path.parent if path else None
