"""A base that is a mixture of experts: what of it can be trained, merged and put into 4 bits."""

from tools.base_model import experts
from tools.check.rules.base import Facts, Faults, fail, warn
from tools.recipe.schema import Recipe


def trained(recipe: Recipe, facts: Facts) -> Faults:
    """Only what can be merged is trained."""
    for key, said in experts.trained(recipe):
        yield fail(key, said, experts.REMEDY)


def counted(recipe: Recipe, facts: Facts) -> Faults:
    """A mixture is planned as one."""
    arch = recipe.model.arch
    if arch and not arch.experts and experts.has_experts(recipe.model):
        said = f"model.arch has no experts, {recipe.model.id} has: make plan counts a dense model"
        remedy = "add experts, experts_used and shared_mlp (docs/recipes.md, Mixtures of experts)"
        yield warn("model.arch", said, remedy)


def packed(recipe: Recipe, facts: Facts) -> Faults:
    """Experts are as they were trained on, from training to serving: whole.

    bitsandbytes replaces layers (``nn.Linear``), and experts are none; Axolotl's own way, by
    ``quantize_moe_experts``, has no counterpart in merge and quantize.
    """
    train = recipe.train
    if not experts.has_experts(recipe.model):
        return
    if train.get("quantize_moe_experts"):
        said = "train.quantize_moe_experts trains on experts in 4 or 8 bits, and whole ones are"
        remedy = "leave it out; make plan tells what whole experts take"
        yield fail("train.quantize_moe_experts", f"{said} merged and served", remedy)
    packs = {
        "train.load_in_4bit": train.get("load_in_4bit"),
        "train.load_in_8bit": train.get("load_in_8bit"),
        f"quantize.format {recipe.quantize.format}": recipe.quantize.format != "none",
    }
    for key, on in packs.items():
        if on:
            said = f"{key}: the experts of {recipe.model.id}, most of its weights, stay whole"
            remedy = "nothing to do where the card is large enough: make plan counts them whole"
            yield warn(key.partition(" ")[0], said, remedy)
