"""How merge and quantize put weights into 4 bits: as training had them."""

from tools.recipe.schema import Recipe


def double_quant(recipe: Recipe) -> bool:
    """Whether the scales of a 4-bit base are quantized, too: as in training, Axolotl's default."""
    options = recipe.train.get("bnb_config_kwargs") or {}
    return bool(options.get("bnb_4bit_use_double_quant", True))
