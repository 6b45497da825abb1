"""Who trains a kind of models."""

from tools import axolotl
from tools.recipe.schema import Model
from tools.trainers import request
from tools.trainers.child import Trainer

TRAINERS: dict[str, Trainer] = {
    "causal": axolotl.TRAINER,
    "seq2seq": request.SEQ2SEQ,
    "encoder": request.MASKED,
}


def trainer_of(model: Model) -> Trainer:
    """The trainer of a recipe's base model."""
    return TRAINERS[model.kind]
