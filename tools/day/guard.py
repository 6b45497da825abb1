"""Signs that a training is broken, each with what to look at. Pure functions of what is logged."""

import math
from collections.abc import Mapping

# Nats that a first loss may lie above that of a uniform guess: a model that is surer than that of
# wrong tokens has broken weights or another model's tokenizer (axolotl's issue 2039: 23).
HEADROOM = 2.0
# What a user is told of packed rows that attention does not keep apart.
PACKS = (
    "this model's attention cannot keep the documents of packed rows apart; set "
    "train.sample_packing=false"
)


def loss_fault(step: int, logs: Mapping[str, float], vocabulary: int, plain: bool = True) -> str:
    """Why training must stop, given what it logged at ``step``; empty when nothing is wrong.

    Args:
        step: optimizer steps made.
        logs: ``loss`` (mean over the steps since the last log) or ``eval_loss``, or neither.
        vocabulary: rows of the model's embedding matrix.
        plain: whether cross entropy is trained; one that weighs tokens has no bound to know.
    """
    for name in ("loss", "eval_loss"):
        if not math.isfinite(logs.get(name, 1.0)):
            return (
                f"{name} became {logs[name]} by step {step}; lower train.learning_rate, or set "
                "train.max_grad_norm"
            )
    loss = logs.get("loss")
    if loss == 0:
        return (
            f"the loss is exactly 0 at step {step}, so nothing is learnt; are all labels masked, "
            "or is the attention kernel broken (train.attn_implementation)?"
        )
    # Only the first loss is the base's own; a high learning rate may raise later ones.
    if plain and step == 1 and loss is not None and loss > math.log(vocabulary) + HEADROOM:
        return (
            f"the first loss is {loss:.2f}; a model that guesses among its {vocabulary:,} tokens "
            f"has {math.log(vocabulary):.2f}: its weights are broken, or the tokenizer is another "
            "model's"
        )
    return ""


def weights_fault(step: int) -> str:
    """What a user is told of weights that are no numbers."""
    return f"trained weights became NaN or infinite by step {step}; lower train.learning_rate"


def share_fault(share: float) -> str:
    """Why rows with this share of learnt tokens cannot be right; empty when they can."""
    if share <= 0:
        return (
            "data: no token of the training rows is learnt (0 %); does data.sources.*.completion "
            "name the field that holds the answer?"
        )
    if share >= 1:
        return (
            "data: every token of the training rows is learnt (100 %), the questions too; put the "
            "question into data.sources.*.prompt, and into .completion the answer alone"
        )
    return ""
