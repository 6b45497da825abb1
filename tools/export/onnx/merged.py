"""What the merged model answers of held-out prompts, in float32, as its ONNX files compute."""

import dataclasses
from pathlib import Path
from typing import Any

from tools import base_model
from tools.base_model.architecture import of_folder
from tools.console import each
from tools.data import tokens
from tools.errors import StageError
from tools.export.asking import PROMPTS, STEPS
from tools.run.folder import Run

ROWS = 4096  # of the held-out ones, in which different prompts are looked for


@dataclasses.dataclass(frozen=True)
class Lines:
    """What both are asked.

    Attributes:
        ids: what is read: a prompt, with what the tokenizer puts behind it, an encoder's mask
            before that.
        places: where the mask of each is; None of an encoder with a decoder.
    """

    ids: list[list[int]]
    places: list[int] | None


@dataclasses.dataclass(frozen=True)
class Merged:
    """The merged model's own answers.

    Attributes:
        lines: what it was asked.
        start: what its answers begin at, unseen; 0 of an encoder.
        padding: fills shorter lines up.
        greedy: the likeliest ids after each line: one at a mask, several of a decoder.
        gaps: the lead of the best logit over the second at each of them, as a share of its lead
            over the mean of all.
        logits: of the first of them, float32 numpy [lines, vocabulary].
        parameters: how many it has.
    """

    lines: Lines
    start: int
    padding: int
    greedy: list[list[int]]
    gaps: list[list[float]]
    logits: Any
    parameters: int


def lines_of(run: Run) -> Lines:
    """Held-out prompts, each once, as the worker has the model read them.

    Raises:
        StageError: no answer of the held-out rows fits the model's window.
    """
    folder = run.output("merge")
    file = tokens.files(run, base_model.local_folder(run.recipe.model))["validation"]
    rows = tokens.read(file, ROWS, run.recipe.serve.context)
    prompts = [list(one) for one in dict.fromkeys(tuple(ids) for ids, _ in rows)][:PROMPTS]
    if not prompts:
        raise StageError(
            "export: no held-out row fits the model's window, so nothing can be proven of a file; "
            "raise data.validation_rows, or lower data.shots"
        )
    codec = tokens.codec_of(folder)
    masks = of_folder(folder).parted == "together"
    behind = [*([codec.mask_id] if masks and codec.mask_id is not None else []), *codec.trail]
    places = [len(one) for one in prompts] if masks else None
    return Lines([[*one, *behind] for one in prompts], places)


def ask(folder: Path, lines: Lines) -> Merged:
    """Load the merged model and ask it, a line at a time.

    Args:
        folder: its own.
        lines: what it is asked.
    """
    import numpy
    import torch

    loader = of_folder(folder).loader()
    net = loader.from_pretrained(folder, dtype=torch.float32).eval()
    start, answer = start_of(net), _answered if lines.places is None else _masked
    logits, greedy, gaps = [], [], []
    for number in each(range(len(lines.ids)), len(lines.ids), "asking merged", "prompt"):
        found = answer(net, lines, number, start)
        logits.append(found[0].numpy())
        best = found.topk(2).values
        above = best[:, 0] - found.mean(-1)
        greedy.append(found.argmax(-1).tolist())
        gaps.append(((best[:, 0] - best[:, 1]) / above).tolist())
    return Merged(
        lines,
        start,
        net.config.pad_token_id or 0,
        greedy,
        gaps,
        numpy.stack(logits),
        sum(one.numel() for one in net.parameters()),
    )


def start_of(net: Any) -> int:
    """What every answer of a decoder starts from, unseen; 0 where there is no decoder."""
    said = (net.config, getattr(net, "generation_config", None))
    starts = (getattr(one, "decoder_start_token_id", None) for one in said)
    return next((int(one) for one in starts if one is not None), 0)


def _masked(net: Any, lines: Lines, number: int, start: int) -> Any:
    """Logits at the mask [1, vocabulary]."""
    import torch

    assert lines.places is not None
    with torch.inference_mode():
        found = net(input_ids=torch.tensor([lines.ids[number]])).logits
    return found[0, lines.places[number]][None].float()


def _answered(net: Any, lines: Lines, number: int, start: int) -> Any:
    """Logits of each token of a greedy answer [tokens, vocabulary]."""
    import torch

    found, said, past = [], start, None
    with torch.inference_mode():
        read = net.get_encoder()(input_ids=torch.tensor([lines.ids[number]]))
        for _ in range(STEPS):
            out = net(
                encoder_outputs=read,
                decoder_input_ids=torch.tensor([[said]]),
                past_key_values=past,
                use_cache=True,
            )
            found.append(out.logits[0, -1].float())
            said, past = int(found[-1].argmax()), out.past_key_values
    return torch.stack(found)
