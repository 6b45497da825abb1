"""The merge verb: Axolotl adds the adapter to the base; the result computes what was trained."""

import shutil
from math import isfinite
from pathlib import Path
from typing import Any

from tools import axolotl, base_model
from tools.console import say
from tools.data import tokens
from tools.errors import StageError
from tools.run.folder import Run
from tools.stages import generation
from tools.stages.four_bits import double_quant

PROBES = 4  # held-out rows whose logits are compared


def merge(run: Run) -> dict[str, Any]:
    """Make ``merged/``: a self-contained model folder.

    Raises:
        StageError: Axolotl failed, or the merged model differs from base + adapter by more than
            ``merge.max_logit_error`` allows, or does not differ from the base at all.
    """
    base, adapter = base_model.local_folder(run.recipe.model), run.output("train")
    config = axolotl.render(run, base)
    with run.produce("merge") as work:
        say("merge: adding the adapter to the base")
        overrides = {"lora_model_dir": str(adapter), "output_dir": str(work.folder)}
        axolotl.call(run, "merge", config, overrides)
        _flatten(work.folder / "merged")
        _complete(base, work.folder)
        work.note(**_verify(run, base, adapter, work.folder))
    say(
        f"merge: the adapter moved logits by up to {work.metrics['max_logit_change']:.3g}; the "
        f"merged model differs from base + adapter by at most {work.metrics['max_logit_diff']:.2g}"
    )
    return work.metrics


def _flatten(inner: Path) -> None:
    """Axolotl writes into a subfolder ``merged``; the stage's folder is the model's."""
    for path in inner.iterdir():
        path.rename(inner.parent / path.name)
    inner.rmdir()


def _complete(base: Path, folder: Path) -> None:
    """Copy what Axolotl's merge may leave out, so that the folder serves by itself."""
    (folder / "debug.log").unlink(missing_ok=True)  # Axolotl's; the run's logs have it too
    for name in ("generation_config.json", "chat_template.jinja"):
        if (base / name).is_file() and not (folder / name).exists():
            shutil.copy(base / name, folder / name)
    generation.settle(folder)


def _verify(run: Run, base: Path, adapter: Path, merged: Path) -> dict[str, float]:
    """Largest differences of logits over a few held-out rows."""
    from peft import PeftModel

    file = tokens.files(run, base)["validation"]
    prompts = [ids for ids, _ in tokens.read(file, PROBES, run.recipe.serve.context)]
    plain = _load(run, base, _as_trained(run))
    before = _logits(plain, prompts)  # first: PEFT puts its layers into this very model
    trained = _logits(PeftModel.from_pretrained(plain, adapter).eval(), prompts)
    del plain  # or it would stand in memory beside the merged one
    after = _logits(_load(run, merged), prompts)
    diff, change = _distance(trained, after), _distance(before, after)
    allowed = run.recipe.merge.max_logit_error
    if change == 0:
        raise StageError("merge: the merged model computes what the base does: nothing was merged")
    # As a share of the change: how large logits are differs from model to model.
    if not (isfinite(diff) and diff <= allowed * change):
        raise StageError(
            f"merge: the merged model's logits differ from base + adapter by {diff:.3g}, "
            f"{diff / change:.1%} of what the adapter changed, more than merge.max_logit_error = "
            f"{allowed:g}; try merge.method=plain"
        )
    return {"max_logit_diff": diff, "max_logit_change": change}


def _nf4_aware(run: Run) -> bool:
    return run.recipe.train.get("adapter") == "qlora" and run.recipe.merge.method == "nf4_aware"


def _as_trained(run: Run) -> dict[str, Any]:
    """How to load the base as the adapter saw it: in NF4 for qlora, if the merge does so."""
    import torch
    from transformers import BitsAndBytesConfig

    if not _nf4_aware(run):
        return {}
    dtype = torch.bfloat16 if run.recipe.train.get("bf16") else torch.float32
    nf4 = BitsAndBytesConfig(  # as Axolotl 0.21.0 loads a base for qlora
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant(run.recipe),
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": nf4}


def _load(run: Run, folder: Path, options: dict[str, Any] | None = None) -> Any:
    """A model to compare: NF4 weights are unpacked, for 4-bit kernels round on the way.

    On a CPU with bf16 instructions bitsandbytes multiplies in bf16; a tiny random model's logits
    moved by 7 of several hundred, which would hide a wrong merge.
    """
    from transformers import AutoModelForCausalLM

    device = run.recipe.hardware.device
    net = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", device_map=device, **(options or {})
    )
    return (net.dequantize() if options else net).eval()


def _logits(net: Any, prompts: list[list[int]]) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [net(torch.tensor([ids], device=net.device)).logits.float().cpu() for ids in prompts]


def _distance(one: list[Any], other: list[Any]) -> float:
    """Largest difference over all rows; NaN, which Python's ``max`` may drop, stays."""
    import torch

    largest = [(a - b).abs().max() for a, b in zip(one, other, strict=True)]
    return float(torch.stack(largest).max())
