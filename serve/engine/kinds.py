"""Kinds of models that are served, and which of them a folder is."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve import windows
from serve.config import ServeConfig
from serve.startup import StartError


@dataclass(frozen=True)
class Kind:
    """What loading needs to know of a kind of model.

    Attributes:
        name: what it computes: the next token, an answer to an encoded prompt, or what stands
            behind a mask.
        auto_class: of transformers, loads a folder of this kind.
        said: the kind in words, for messages.
        engines: the values of ``serve.engine`` that answer with it; none: all.
        engine: what the engine ``transformers`` calls itself for it.
        adapters: whether LoRA adapters can answer beside it.
        int8: whether it can compute in ``serve.dtype`` int8: a text tells whether that spoils it.
        whole: whether every weight must be in the folder; else transformers draws some, as it does
            for an encoder that comes without its head, and the answers would be noise.
        ends_prompt: whether what the tokenizer puts behind a text (``[SEP]``, ``</s>``) is fed
            behind every prompt.
        unscored: why a prompt has no logprobs; empty: it has.
    """

    name: Literal["causal", "seq2seq", "encoder"]
    auto_class: str
    said: str
    engines: tuple[str, ...] = ()
    engine: str = "transformers"
    adapters: bool = True
    int8: bool = True
    whole: bool = False
    ends_prompt: bool = False
    unscored: str = ""


CAUSAL = Kind("causal", "AutoModelForCausalLM", "a causal language model")
SEQ2SEQ = Kind(
    "seq2seq",
    "AutoModelForSeq2SeqLM",
    "an encoder with a decoder",
    engines=("transformers",),
    engine="seq2seq",
    adapters=False,
    int8=False,
    whole=True,
    ends_prompt=True,
    unscored="an encoder-decoder model has no probability for a prompt: it reads it as a condition",
)
ENCODER = Kind(
    "encoder",
    "AutoModelForMaskedLM",
    "an encoder that fills masks",
    engines=("transformers",),
    engine="masked",
    adapters=False,
    int8=False,
    whole=True,
    ends_prompt=True,
    unscored="a masked language model reads a prompt from both sides: it has no probability for it",
)

_KINDS = dict.fromkeys(windows.SEQ2SEQ, SEQ2SEQ) | dict.fromkeys(windows.ENCODERS, ENCODER)


def kind_of(model_dir: Path) -> Kind:
    """The kind of a model folder.

    Raises:
        StartError: its ``config.json`` cannot be read.
    """
    path = model_dir / "config.json"
    try:
        model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type", "")
    except (OSError, ValueError, AttributeError) as error:
        remedy = "save the model again with model.save_pretrained(folder)"
        raise StartError(
            f"{path}: cannot be read as a model's settings: {error}; {remedy}"
        ) from None
    return _KINDS.get(model_type, CAUSAL)


def check_engine(kind: Kind, config: ServeConfig) -> None:
    """Refuses settings that have no meaning for a kind of model.

    Raises:
        StartError: with all of them.
    """
    faults = []
    if kind.engines and config.engine not in kind.engines:
        remedy = f"set serve.engine to {' or '.join(kind.engines)}"
        faults.append(f"serve.engine: {config.engine} does not answer with {kind.said}; {remedy}")
    if config.adapters and not kind.adapters:
        remedy = "merge the adapter into the model and serve that"
        faults.append(f"serve.adapters: none can answer beside {kind.said}; {remedy}")
    if config.dtype == "int8" and not kind.int8:
        remedy = "set it to float32 or bfloat16"
        faults.append(f"serve.dtype: int8 is for causal models, not {kind.said}; {remedy}")
    if faults:
        raise StartError(*faults)
