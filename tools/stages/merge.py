"""The merge verb: the adapter goes into the base; the result computes what was trained.

Of a model that was trained whole there is nothing to add: its weights get the base's names and
types.
"""

import contextlib
import warnings
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from tools import base_model
from tools.base_model.architecture import of_folder
from tools.console import say
from tools.data import tokens
from tools.data.tokens import Row
from tools.errors import StageError
from tools.files import read_json
from tools.run.folder import Run
from tools.stages import generation, mixed
from tools.stages.asking import Asking, asking
from tools.stages.four_bits import as_trained, packed, trained_dtype
from tools.stages.loading import passing, unmapped, unpacked, widened
from tools.stages.loading.mapped import free_at_once
from tools.stages.merging import merge_folders
from tools.stages.merging.rounding import Rounding
from tools.stages.merging.trained import is_whole
from tools.stages.preflight import demand_room

PROBES = 4  # held-out rows whose logits are compared
PLACES = 64  # of each: a large vocabulary's at all of a long row outweigh the model


@dataclass(frozen=True)
class Probes:
    """Held-out rows, and how a model of the base's kind is asked of them."""

    ask: Asking
    rows: list[Row]

    def logits(self, net: Any) -> list[Any]:
        """A row's each, at places spread over it, on the CPU."""
        return [_spread(self.ask.every(net, row)).cpu() for row in self.rows]


def _spread(logits: Any) -> Any:
    """At most ``PLACES`` of them, a copy: a part would keep the whole in memory."""
    return logits[:: -(-len(logits) // PLACES) or 1].clone()


def merge(run: Run) -> dict[str, Any]:
    """Make ``merged/``: a self-contained model folder.

    Raises:
        UserError: the base is incomplete, quantized or not the adapter's.
        StageError: the merged model differs from base + adapter by more than
            ``merge.max_logit_error`` allows, or does not differ from the base at all.
    """
    base, adapter = base_model.local_folder(run.recipe.model), mixed.own(run)
    whole = is_whole(adapter)
    free_at_once()
    with run.produce("merge") as work, warnings.catch_warnings():
        # Of Conv1D and of tied weights: the one is right, the other seen to.
        warnings.filterwarnings("ignore", module=r"peft\.")
        demand_room(run, base)
        if whole:
            say("merge: all weights were trained, there is nothing to add to the base")
        else:
            say("merge: adding the adapter to the base")
        added = mixed.together(run, base, work)
        merge_folders(base, added, work.folder, _rounding(run, base), mixed.folders(run))
        generation.settle(work.folder)
        work.note(**_verify(run, base, added, work.folder))
        mixed.clear(work)
    what, trained = ("training", "trained model") if whole else ("the adapter", "base + adapter")
    say(
        f"merge: {what} moved logits by up to {work.metrics['max_logit_change']:.3g}; the "
        f"merged model differs from {trained} by at most {work.metrics['max_logit_diff']:.2g}"
    )
    return work.metrics


def _rounding(run: Run, base: Path) -> Rounding | None:
    """How the base was put into 4 bits, where the merge is to do the same."""
    if run.recipe.train.get("adapter") != "qlora" or run.recipe.merge.method != "nf4_aware":
        return None
    how = as_trained(run.recipe, base)
    return Rounding(how, trained_dtype(run.recipe), run.recipe.hardware.device)


def _verify(run: Run, base: Path, adapter: Path, merged: Path) -> dict[str, float]:
    """Largest differences of logits over a few held-out rows."""
    file = tokens.files(run, base)["validation"]
    probes = Probes(asking(base), tokens.read(file, PROBES, run.recipe.serve.context))
    options = how_trained(run, base, adapter)
    before, trained = _trained(run, base, adapter, options, probes)
    after = probes.logits(_merged(run, merged, options))
    diff, change = _distance(trained, after), _distance(before, after)
    allowed = run.recipe.merge.max_logit_error
    if change == 0:
        raise StageError("merge: the merged model computes what the base does: nothing was merged")
    # As a share of the change: how large logits are differs from model to model.
    if not (isfinite(diff) and diff <= allowed * change):
        what, remedy = ("base + adapter", "try merge.method=plain")
        if is_whole(adapter):
            what, remedy = ("the trained model", "train in the type of the base's files")
        raise StageError(
            f"merge: the merged model's logits differ from {what} by {diff:.3g}, "
            f"{diff / change:.1%} of what training changed, more than merge.max_logit_error = "
            f"{allowed:g}; {remedy}"
        )
    return {"max_logit_diff": diff, "max_logit_change": change}


def _merged(run: Run, folder: Path, options: dict[str, Any]) -> Any:
    """What was made, whole weights in the type that was trained in."""
    if "quantization_config" not in options:
        return loaded(run, folder, options)
    return widened(folder, options["dtype"], _device(run, folder)).eval()


def _trained(
    run: Run, base: Path, adapter: Path, options: dict[str, Any], probes: Probes
) -> tuple[list[Any], list[Any]]:
    """Logits of the base and of what was trained, one model in memory at a time."""
    from peft import PeftModel

    plain = loaded(run, base, options)
    before = probes.logits(plain)  # first: PEFT puts its layers into this very model
    if not is_whole(adapter):
        return before, probes.logits(PeftModel.from_pretrained(plain, adapter).eval())
    del plain
    return before, probes.logits(loaded(run, adapter, options))


def how_trained(run: Run, base: Path, adapter: Path) -> dict[str, Any]:
    """How to load the base as training saw it: in NF4 for qlora, if the merge does so.

    Models that were trained whole may be of another type than their base: all are computed in it.
    """
    if is_whole(adapter):
        config = read_json(adapter / "config.json")
        return {"dtype": config.get("dtype") or config.get("torch_dtype") or "auto"}
    rounding = _rounding(run, base)
    return {"dtype": rounding.dtype, "quantization_config": rounding.how} if rounding else {}


def loaded(run: Run, folder: Path, options: dict[str, Any]) -> Any:
    """A model to compare: NF4 weights are unpacked, for 4-bit kernels round on the way.

    On a CPU with bf16 instructions bitsandbytes multiplies in bf16; a tiny random model's logits
    moved by 7 of several hundred, which would hide a wrong merge.
    """
    auto, device = of_folder(folder).loader(), _device(run, folder)
    # In the file's own type its mapped bytes are the weights.
    with unmapped() if options else contextlib.nullcontext():
        net = auto.from_pretrained(folder, device_map=device, **{"dtype": "auto", **options})
    return (unpacked(net) if packed(net) else passing(net, folder)).eval()


def _device(run: Run, folder: Path) -> str:
    """Where logits are compared: on the card, unless the whole model is too large for it."""
    card = run.recipe.hardware
    whole = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return card.device if whole < 0.9 * card.memory_gib * 2**30 else "cpu"


def _distance(one: list[Any], other: list[Any]) -> float:
    """Largest difference over all rows; NaN, which Python's ``max`` may drop, stays."""
    import torch

    largest = [(a - b).abs().max() for a, b in zip(one, other, strict=True)]
    return float(torch.stack(largest).max())
