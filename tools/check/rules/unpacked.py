"""What bitsandbytes, PEFT and transformers do not do for every kind of model, and do not say."""

from tools.check.rules.base import Facts, Faults, fail
from tools.check.rules.targets import ENDS, kind
from tools.recipe.schema import Recipe

# Their linear layers are a subclass of torch's, which transformers 5.20 does not have replaced
# (transformers.integrations.bitsandbytes: ``type(module) is nn.Linear``).
_WHOLE = {"falcon"}
# PEFT 0.21 knows a tied embedding by the name of Llama's and OPT's: of others it writes an adapter
# of the head that it does not read back.
_FORGETS_HEADS = {"gpt2", "bloom", "falcon", "mpt", "gpt_neo"}
#: Starts of PEFT 0.21 (tuners/lora/layer.py) that write to the base layer.
CHANGE_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")


def layers(recipe: Recipe, facts: Facts) -> Faults:
    """Weights that are planned in 4 or 8 bits get there."""
    model, train = recipe.model, recipe.train
    if kind(model) not in _WHOLE:
        return
    why = f"bitsandbytes replaces no layer of {model.id} ({kind(model)})"
    if train.get("adapter") == "qlora" or train.get("load_in_4bit"):
        remedy = 'SET="train.adapter=lora train.load_in_4bit=false"'
        said = f"train.adapter qlora: {why}, so it would train whole, and need four times as much"
        yield fail("train.adapter", said, remedy)
    if train.get("load_in_8bit"):
        said = f"train.load_in_8bit: {why}, so it would train whole"
        yield fail("train.load_in_8bit", said, "set train.load_in_8bit=false")
    if recipe.quantize.format in ("nf4", "int8"):
        said = f"quantize.format {recipe.quantize.format}: {why}"
        yield fail("quantize.format", said, "set quantize.format=none")


def tied_heads(recipe: Recipe, facts: Facts) -> Faults:
    """An adapter of a tied head is read back as it was trained."""
    train, key = recipe.train, "train.peft_ensure_weight_tying"
    targets = train.get("lora_target_modules")
    ends = sorted(ENDS & set(targets)) if isinstance(targets, list) else []
    if train.get(key.removeprefix("train.")) and ends and kind(recipe.model) in _FORGETS_HEADS:
        said = f"{key} with {ends[0]} in train.lora_target_modules: PEFT does not read back what"
        said += f" it trains of a {kind(recipe.model)}'s head"
        yield fail(key, said, f"leave {', '.join(ends)} out of train.lora_target_modules")
