"""What a CPU computes in below float32 (``serve.dtype``), held against float32 when it is loaded.

A short text is read by the model in float32 and by what will answer: logits that are further apart
than the format's bound, or a perplexity that grows by more than ``WORSE``, refuse the start. So no
answer is ever given by a model that the format has spoilt, whatever it was trained on; how far the
format is from the merged model on held-out rows, ``make quantize`` measures.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM

from serve.config import ServeConfig
from serve.engine import memory, stepping
from serve.engine.attention import Piece
from serve.engine.eightbit import to_eight_bits
from serve.engine.loading import LoadedModel, load_model
from serve.engine.packed import pack
from serve.engine.stepping import Feed
from serve.startup import StartError

log = logging.getLogger(__name__)

Ask = Callable[[Sequence[int]], torch.Tensor]

#: Plain prose, about 150 tokens of most vocabularies.
TEXT = """The river rises in the hills above the old town, where snow lies until the end of \
April. In summer it is low, and children walk across it on the stones. Anna and her \
brother Tom went there on the first warm Sunday of the year, because their grandmother \
had told them about a mill. "It was built in 1812," she said, "and my own grandfather \
worked there for thirty years." They found three walls, a broken wheel and a great \
many nettles. Tom asked whether the mill could be built again. Anna did not think so, \
but she took a photograph, and in the evening they looked at it together: the wheel, \
the water behind it, and a small grey bird on the highest stone. What kind of bird it \
was, nobody knew."""

#: Largest growth of the text's perplexity.
WORSE = 1.05

#: Largest distance of logits, each place's around their mean, as a share of float32's (norms).
APART = {"bfloat16": 0.1, "int8": 0.1}


@dataclass(frozen=True)
class Told:
    """What the model says of the text in float32.

    Attributes:
        ids: the text's.
        logits: ``[ids, vocabulary]``.
    """

    ids: list[int]
    logits: torch.Tensor


def coarse(config: ServeConfig, device: str) -> bool:
    """Whether what computes is to be held against float32."""
    return device == "cpu" and config.dtype in APART


def load(model_dir: Path, config: ServeConfig, device: str) -> tuple[LoadedModel, Told | None]:
    """Loads a model, with what it says in float32 where something coarser will answer.

    Of int8 the model is float32 still, for :func:`settle` to change. Of bfloat16 it is loaded twice
    (rotary tables and buffers must not be rounded along), but where memory is too short for that.
    """
    if not coarse(config, device):
        return load_model(model_dir, config, device), None
    if config.dtype != "int8" and not _fits(model_dir):
        log.warning("serve.dtype: %s: no memory to hold it against float32", config.dtype)
        return load_model(model_dir, config, device), None
    whole = load_model(model_dir, replace(config, dtype="float32"), device)
    found = _told(whole)
    if config.dtype == "int8":
        return whole, found
    del whole
    return load_model(model_dir, config, device), found


def _fits(model_dir: Path) -> bool:
    """Whether there is memory for the model in float32."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_dir))
    return bool(4 * model.num_parameters() < memory.free_bytes("cpu"))


def _told(loaded: LoadedModel) -> Told:
    """What the model says of the text, by transformers' own attention."""
    ids = list(loaded.text.encode_prompt(TEXT).ids)[: loaded.info.context]
    return Told(ids, stepping.expected_logits(loaded.model, [ids])[0])


def stepped(stepper: stepping.Stepper) -> Ask:
    """Asks a model that has our attention."""

    def ask(ids: Sequence[int]) -> torch.Tensor:
        stepper.allocate(1, len(ids))
        size = stepper.unit or len(ids)
        spans = [(start, min(start + size, len(ids))) for start in range(0, len(ids), size)]
        feeds = [Feed(Piece(0, a, b), ids[a:b], b - a) for a, b in spans]
        return torch.cat([stepper.step([feed])[0] for feed in feeds])

    return ask


def plainly(model: Any) -> Ask:
    """Asks a model that has its own attention."""
    return lambda ids: stepping.expected_logits(model, [ids])[0]


def settle(loaded: LoadedModel, found: Told, config: ServeConfig, ask: Ask) -> LoadedModel:
    """Makes the model what ``serve.dtype`` says, and holds it against float32.

    Args:
        loaded: float32 still, if int8 is wanted: it is changed.
        found: what it said in float32.
        config: ``dtype``.
        ask: gives its logits.

    Returns:
        The model, and its info as it is now.

    Raises:
        StartError: it is further from float32 than allowed.
    """
    if config.dtype == "int8":
        count = to_eight_bits(loaded.model)
        pack(loaded.model)  # what has stayed
        if not count:
            log.warning("serve.dtype: int8: no layer can be of 8 bits here: float32 computes")
            return loaded
        log.info("%d linear layers compute in 8 bits", count)
        loaded = replace(loaded, info=replace(loaded.info, dtype="int8"))
    _judge(config.dtype, found, ask(found.ids))
    return loaded


def _judge(name: str, found: Told, logits: torch.Tensor) -> None:
    """Refuses logits that are too far from float32's."""
    whole = _centred(found.logits)
    apart = float((_centred(logits) - whole).norm() / whole.norm())
    before, after = (_perplexity(found.ids, one) for one in (found.logits, logits))
    log.info("%s: perplexity %.4g, float32 %.4g; logits %.2g apart", name, after, before, apart)
    faults = []
    if not apart <= APART[name]:  # so written, NaN is refused, too
        faults.append(f"its logits are {apart:.2g} of float32's apart, more than {APART[name]:g}")
    # A model that knows less of the text than chance is not judged by how little it knows.
    if before < logits.shape[1] and not after <= WORSE * before:
        faults.append(
            f"perplexity on a short text grows from {before:.4g} in float32 to {after:.4g}, more"
            f" than {WORSE:g} times"
        )
    if faults:
        raise StartError(*(f"serve.dtype: {name}: {one}; set it to float32" for one in faults))


def _centred(logits: torch.Tensor) -> torch.Tensor:
    """Without what is common to a place's logits, which softmax does not see."""
    return logits - logits.mean(-1, keepdim=True)


def _perplexity(ids: Sequence[int], logits: torch.Tensor) -> float:
    loss = float(cross_entropy(logits[:-1], torch.tensor(ids[1:])))
    return math.exp(min(loss, 700.0))
