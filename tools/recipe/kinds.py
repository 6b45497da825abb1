"""Kinds of models: one record each, with what differs between them and nothing else.

A kind is what a model computes: the next token (``causal``), an answer to an encoded question
(``seq2seq``), or what stands behind a mask (``encoder``). Whatever loads, trains, merges or plans a
model asks its record; only the factories of trainers and engines ask for its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serve import windows
from tools.recipe.faults import nearest

KindName = Literal["causal", "seq2seq", "encoder"]


#: Of Axolotl's keys those that say the same to any trainer.
TRAIN_KEYS = frozenset((
    "adapter", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_target_linear",
    "lora_modules_to_save", "peft_use_dora", "peft_use_rslora", "learning_rate", "lr_groups",
    "unfrozen_parameters", "optimizer", "lr_scheduler", "lr_scheduler_kwargs", "warmup_steps",
    "warmup_ratio", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "micro_batch_size", "eval_batch_size", "gradient_accumulation_steps", "num_epochs", "max_steps",
    "sequence_len", "group_by_length", "seed", "eval_strategy", "eval_steps", "evals_per_epoch",
    "save_strategy",
    "save_steps", "saves_per_epoch", "save_total_limit", "logging_steps", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better", "early_stopping_patience", "bf16", "fp16", "tf32",
    "gradient_checkpointing", "gradient_checkpointing_kwargs", "attn_implementation",
    "excess_length_strategy", "overrides_of_model_config",
))  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What a kind of model needs of the libraries.

    Attributes:
        name: in a recipe's ``model.kind``.
        auto_class: of transformers, loads a folder of this kind.
        table: of transformers' ``modeling_auto``, lists the ``model_type`` of each such model.
        task_type: PEFT's; None where it has none (masked language models).
        said: the kind in words, for messages.
        train_keys: of the recipe's ``train`` those that its trainer understands; None: all that
            Axolotl does.
        parted: how a training row is learnt: whole (empty), or an answer at a time, its prompt
            ``apart`` (read by the encoder, the answer by the decoder) or ``together`` with it in
            one window, up to a mask.
    """

    name: KindName
    auto_class: str
    table: str
    task_type: str | None
    said: str
    train_keys: frozenset[str] | None = None
    parted: Literal["", "apart", "together"] = ""

    def loader(self) -> Any:
        """The class of transformers that loads a folder of this kind; imports it."""
        import transformers

        return getattr(transformers, self.auto_class)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "causal",
            "AutoModelForCausalLM",
            "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
            "CAUSAL_LM",
            "a causal language model",
        ),
        Kind(
            "seq2seq",
            "AutoModelForSeq2SeqLM",
            "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
            "SEQ_2_SEQ_LM",
            "an encoder with a decoder",
            TRAIN_KEYS,
            "apart",
        ),
        Kind(
            "encoder",
            "AutoModelForMaskedLM",
            "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
            None,
            "an encoder that fills masks",
            TRAIN_KEYS,
            "together",
        ),
    )
}


def kind_of(model_type: str) -> Kind:
    """The kind of a model by the ``model_type`` of its ``config.json``."""
    if model_type in windows.SEQ2SEQ:
        return KINDS["seq2seq"]
    return KINDS["encoder" if model_type in windows.ENCODERS else "causal"]


#: The challenge's families that are not causal, by their plain names.
_FAMILIES: dict[str, KindName] = {
    **dict.fromkeys(("t5", "ul2", "bart"), "seq2seq"),
    **dict.fromkeys(("albert", "bert", "deberta", "distilbert", "electra", "roberta"), "encoder"),
}


def family_kind(family: str) -> Kind | None:
    """The kind of a family's models by its name; None where the name does not tell it."""
    name = _FAMILIES.get(family.lower().replace("-", "").replace("_", "").replace(" ", ""))
    return KINDS[name] if name else None


def window(config: Mapping[str, Any]) -> int:
    """Tokens that a model can see at most, by its ``config.json``; 0 where it names no bound."""
    return windows.window(config) or 0


def without_meaning(kind: Kind, train: Mapping[str, Any]) -> dict[str, str]:
    """Keys of ``train`` that a kind's trainer has no use for, and what is said of each.

    One that turns something off says what is so anyhow.

    Args:
        kind: whose trainer is asked.
        train: the recipe's section.
    """
    known = kind.train_keys
    if known is None:
        return {}
    return {
        key: f"has no meaning for {kind.said} (model.kind {kind.name}){nearest(key, known)}"
        for key, value in train.items()
        if key not in known and value not in (None, False, "", [], {})
    }
