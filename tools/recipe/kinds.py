"""Kinds of models: one record each, with what differs between them and nothing else.

A kind is what a model computes: the next token (``causal``), an answer to an encoded question
(``seq2seq``), or what stands behind a mask (``encoder``). Whatever loads, trains, merges or plans a
model asks its record; only the factories of trainers and engines ask for its name.
"""

from dataclasses import dataclass
from typing import Any, Literal

KindName = Literal["causal", "seq2seq", "encoder"]


@dataclass(frozen=True)
class Kind:
    """What a kind of model needs of the libraries.

    Attributes:
        name: in a recipe's ``model.kind``.
        auto_class: of transformers, loads a folder of this kind.
        table: of transformers' ``modeling_auto``, lists the ``model_type`` of each such model.
        task_type: PEFT's; None where it has none (masked language models).
        said: the kind in words, for messages.
    """

    name: KindName
    auto_class: str
    table: str
    task_type: str | None
    said: str

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
        ),
        Kind(
            "encoder",
            "AutoModelForMaskedLM",
            "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
            None,
            "an encoder that fills masks",
        ),
    )
}

#: ``model_type`` of a config.json whose first use is not causal, though transformers may have a
#: causal class for it, too (a BERT made to look back only).
_SEQ2SEQ = frozenset(("t5", "mt5", "umt5", "bart", "mbart"))
_ENCODERS = frozenset(
    ("albert", "bert", "deberta", "deberta-v2", "distilbert", "electra", "roberta", "xlm-roberta")
)


def kind_of(model_type: str) -> Kind:
    """The kind of a model by the ``model_type`` of its ``config.json``."""
    if model_type in _SEQ2SEQ:
        return KINDS["seq2seq"]
    return KINDS["encoder" if model_type in _ENCODERS else "causal"]
