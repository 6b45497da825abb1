"""Values that make no sense by themselves, files that are not there, secrets and home paths."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from tools.base_model import drawn
from tools.base_model.folder import WHEELS
from tools.check.rules.base import Facts, Faults, fail, warn
from tools.errors import UserError
from tools.questions import tiers
from tools.recipe import run_entries
from tools.recipe.compose import leaves
from tools.recipe.faults import nearest
from tools.recipe.operators import declared as operators
from tools.recipe.redact import secret
from tools.recipe.schema import Eval, Recipe
from tools.recipe.yaml_map import full_key

_AT_LEAST = {
    "hardware.gpus": 1,
    "model.context": 2,
    "data.seed": 0,
    "data.shots": 1,
    "data.validation_rows": 1,  # merge and quantize check on them
    "data.test_rows": 0,
    "data.max_words": 1,
    "train.sequence_len": 1,
    "train.micro_batch_size": 1,
    "train.gradient_accumulation_steps": 1,
    "train.lora_r": 1,
    "train.lora_dropout": 0,
    "train.warmup_steps": 0,
    "train.warmup_ratio": 0,
    "train.weight_decay": 0,
    "quantize.max_perplexity_ratio": 1,
    "quantize.perplexity_rows": 1,
    "quantize.min_top1": 0,
    "quantize.max_score_drop": 0,
    "eval.max_instances": 1,
    "eval.threads": 1,
    "eval.max_new_tokens": 0,
}
_MORE_THAN = {
    "budget.hours": 0,
    "budget.checkpoint_minutes": 0,
    "hardware.memory_gib": 0,
    "hardware.tflops": 0,
    "train.learning_rate": 0,
    "train.num_epochs": 0,
    "train.lora_alpha": 0,
    "train.neftune_noise_alpha": 0,
    "merge.max_logit_error": 0,
    "quantize.max_kl": 0,
}
_AT_MOST = {"quantize.min_top1": 1, "quantize.max_score_drop": 1}


def numbers(recipe: Recipe, facts: Facts) -> Faults:
    """Numbers are in a range that means something."""
    tree = dataclasses.asdict(recipe)
    for key, low in {**_AT_LEAST, **_MORE_THAN}.items():
        section, _, name = key.partition(".")
        value = tree[section].get(name)
        low_enough = value is None or (value >= low if key in _AT_LEAST else value > low)
        if not low_enough:
            words = f"{'at least' if key in _AT_LEAST else 'more than'} {low}"
            yield fail(key, f"{key} is {value}", f"set it to {words}")
    for key, high in _AT_MOST.items():
        section, _, name = key.partition(".")
        if tree[section][name] > high:
            yield fail(key, f"{key} is {tree[section][name]}", f"set it to at most {high}: a share")
    for name, source in recipe.data.sources.items():
        if source.rows is not None and source.rows < 1:
            key = f"data.sources.{name}.rows"
            remedy = "set it to at least 1, or leave it out for all"
            yield fail(key, f"{key} is {source.rows}", remedy)


def budget(recipe: Recipe, facts: Facts) -> Faults:
    """Merge and quantize leave time to train."""
    minutes, reserve = 60 * recipe.budget.hours, recipe.budget.reserve_minutes
    if not 0 <= reserve < minutes:
        said = f"budget.reserve_minutes is {reserve:g} of the budget's {minutes:g} minutes"
        yield fail("budget.reserve_minutes", said, "leave most of the time to training")


def sources(recipe: Recipe, facts: Facts) -> Faults:
    """There is data, from makers and files that exist; the first rows of each file can be read."""
    from tools.data.faults import faults, first_looks

    for text in faults(recipe.data.sources):
        said, _, remedy = text.partition("; ")
        yield fail(said.partition(":")[0], said, remedy)
    for name, seen in first_looks(recipe):
        for text in seen.faults:
            said, _, remedy = text.partition("; ")
            yield fail(f"data.sources.{name}.path", said, remedy or "mend the file")
        for said in seen.left:
            yield warn(f"data.sources.{name}.path", said, "mend these rows, or let them go")
    for path, steps in operators.lists(recipe.data.operators, recipe.data.sources):
        for below, file in operators.files(steps):
            if not operators.opened(Path(file)).is_file():
                key = full_key((*path, *below))
                remedy = f"write it, relative to {Path.cwd()}"
                yield fail(key, f"{key}: {file}: no such file", remedy)


def asked(recipe: Recipe, facts: Facts) -> Faults:
    """What is to be asked of one's own rows can be asked."""
    from tools.data.shares import is_asked, is_bounded

    entries = recipe.eval.tiers.get(recipe.eval.tier, [])
    names = [name for name, source in recipe.data.sources.items() if is_asked(source)]
    own = [entry for entry in entries if _is_own(entry)]
    bounded = any(is_bounded(recipe.data.sources[name]) for name in names)
    if own and bounded and recipe.data.test_rows and not recipe.data.held_out_share:
        said = "data.held_out_share is 0: no row of your own files can be asked or validated on"
        yield fail("data.held_out_share", said, "set it to 0.1")
    for name, source in recipe.data.sources.items():
        text = source.form == "chat_template" and source.answer == "text"
        if own and text and recipe.data.test_rows and not recipe.serve.parse_special:
            key = f"data.sources.{name}.answer"
            said = f"{key}: HELM asks chats by /process, which reads special tokens as text"
            yield fail(key, said, "set serve.parse_special=true, or answer: none")
    if own and not (names and recipe.data.test_rows):
        why = "data.test_rows is 0" if names else "no source has rows that can be asked"
        said = f"eval.tiers.{recipe.eval.tier}: {own[0]} asks nothing: {why}"
        remedy = "set data.test_rows, or data.sources.NAME.answer, or leave the entry out"
        yield warn(f"eval.tiers.{recipe.eval.tier}", said, remedy)


def _is_own(entry: str) -> bool:
    name, words = run_entries.parts(entry)
    return name == "oneday" and not any(word.startswith("skill=") for word in words)


def model_source(recipe: Recipe, facts: Facts) -> Faults:
    """The model can be found where its source says."""
    model = recipe.model
    if model.source in WHEELS and model.package is None:
        said = f"model.source is {model.source}, and model.package does not name the wheel it is in"
        yield fail("model.source", said, "add model.package, or set model.source=hub")
    if model.source == "random" and (why := drawn.fault(model)):
        key, _, rest = why.partition(": ")
        said, _, remedy = rest.partition("; ")
        yield fail(key, f"{key}: {said}", remedy)
    if model.path and model.source != "local":
        said = f"model.path is {model.path}, which model.source {model.source} does not read"
        yield fail("model.path", said, "set model.source=local, or leave model.path out")
    if model.source == "local" and not (Path(model.path) / "config.json").is_file():
        said = f"model.path: {model.path or 'empty'}: holds no config.json"
        yield fail("model.path", said, "give the folder of a Hugging Face model")


def tier(recipe: Recipe, facts: Facts) -> Faults:
    """The tier that is asked for exists, and asks something."""
    yield from _tier("eval.tier", recipe.eval)


def gate_tier(recipe: Recipe, facts: Facts) -> Faults:
    """So does the tier that the quantized model is asked beside the merged one."""
    if name := recipe.quantize.tier:
        yield from _tier("quantize.tier", dataclasses.replace(recipe.eval, tier=name))


def _tier(key: str, asked: Eval) -> Faults:
    name, own = asked.tier, asked.tiers
    known = [*own, *tiers.stages()]
    if not tiers.is_known(name, own):
        said = f"{key} {name} is not in eval.tiers{nearest(name, known)}"
        yield fail(key, said, f"there are: {', '.join(known)}, or a HELM conf file")
    elif name in own and not own[name]:
        yield fail(f"eval.tiers.{name}", f"eval.tiers.{name} is empty", "add a HELM run entry")
    else:
        try:
            tiers.entries(asked)
        except UserError as error:
            for fault in error.faults:
                yield fail(key, fault, "mend it, or choose another tier")


def adapters(recipe: Recipe, facts: Facts) -> Faults:
    """Adapters that are served beside the model are there."""
    for name, folder in recipe.serve.adapters.items():
        if not (Path(folder) / "adapter_config.json").is_file():
            key = f"serve.adapters.{name}"
            said = f"{key}: {folder or 'empty'}: holds no adapter_config.json"
            yield fail(key, said, "give a folder that PEFT has saved an adapter in")


def disk(recipe: Recipe, facts: Facts) -> Faults:
    """Checkpoints do not fill the disk."""
    kept = recipe.train.get("save_total_limit")
    if not kept:
        said = "train.save_total_limit is not set: every checkpoint of the day is kept"
        yield warn("train.save_total_limit", said, "set it to 2")


def secrets(recipe: Recipe, facts: Facts) -> Faults:
    """A recipe is published; keys and passwords are not for it."""
    for key, value in _texts(recipe):
        if kind := secret(key, value):
            said = f"{key} holds a secret: {kind}"
            remedy = "revoke it, take it out, and give it by the environment (HF_TOKEN, …)"
            yield fail(key, said, remedy)


_HOME = re.compile(
    r"(?<![\w.~/\\-])(?:~[\w.-]*/|/(?:home|Users)/[^/\s]|/root(?:/|\Z)|[A-Z]:\\Users\\)"
)


def home_paths(recipe: Recipe, facts: Facts) -> Faults:
    """No path leads into somebody's home."""
    for key, value in _texts(recipe):
        # A rule's text is a pattern or an answer's form, never opened as a file.
        if _HOME.search(value) and not key.startswith("serve.rules"):
            said = f"{key} leads into a home folder that others do not have: {value}"
            yield fail(key, said, "write a path relative to the folder you call make from")


def _texts(recipe: Recipe) -> list[tuple[str, str]]:
    tree: dict[str, Any] = dataclasses.asdict(recipe)
    return [(full_key(path), value) for path, value in leaves(tree) if isinstance(value, str)]
