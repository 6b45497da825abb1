"""The merge verb: Axolotl adds the adapter to the base; the result computes what was trained."""

import shutil
from pathlib import Path
from typing import Any

from tools import axolotl, model, tokens
from tools.console import say
from tools.errors import StageError
from tools.run import Run

PROBES = 4  # held-out rows whose logits are compared


def merge(run: Run) -> dict[str, Any]:
    """Make ``merged/``: a self-contained model folder.

    Raises:
        StageError: Axolotl failed, or the merged model differs from base + adapter by more than
            ``merge.max_logit_diff``, or does not differ from the base at all.
    """
    base, adapter = model.local_folder(run.recipe.model), run.output("train")
    config = axolotl.render(run, base)
    with run.produce("merge") as work:
        say("merge: adding the adapter to the base")
        overrides = {"lora_model_dir": str(adapter), "output_dir": str(work.folder)}
        axolotl.call(run, "merge", config, overrides)
        _flatten(work.folder / "merged")
        _complete(base, work.folder)
        work.note(**_verify(run, base, adapter, work.folder))
    say(
        f"merge: logits of base + adapter and of the merged model differ by at most "
        f"{work.metrics['max_logit_diff']:.2g} (allowed {run.recipe.merge.max_logit_diff:g}); the "
        f"adapter moved them by up to {work.metrics['max_logit_change']:.3g}"
    )
    return work.metrics


def _flatten(inner: Path) -> None:
    """Axolotl writes into a subfolder ``merged``; the stage's folder is the model's."""
    for path in inner.iterdir():
        path.rename(inner.parent / path.name)
    inner.rmdir()


def _complete(base: Path, folder: Path) -> None:
    """Copy what Axolotl's shard-wise merge leaves out, so that the folder serves by itself."""
    for name in ("generation_config.json", "chat_template.jinja"):
        if (base / name).is_file() and not (folder / name).exists():
            shutil.copy(base / name, folder / name)


def _verify(run: Run, base: Path, adapter: Path, merged: Path) -> dict[str, float]:
    """Largest differences of logits over a few held-out rows."""
    import torch
    from peft import PeftModel

    file = tokens.files(run, base)["validation"]
    prompts = [ids for ids, _ in tokens.read(file, PROBES, run.recipe.serve.context)]
    plain = _load(run, base, _as_trained(run))
    before = _logits(plain, prompts)
    trained = _logits(PeftModel.from_pretrained(plain, adapter).eval(), prompts)
    del plain
    after = _logits(_load(run, merged), prompts)
    diff, change = _distance(trained, after), _distance(before, after)
    if not diff <= run.recipe.merge.max_logit_diff:
        raise StageError(
            f"merge: the merged model's logits differ from base + adapter by {diff:.3g}, more than "
            f"merge.max_logit_diff = {run.recipe.merge.max_logit_diff:g}; try merge.method=plain"
        )
    if change <= diff or not torch.isfinite(torch.tensor(change)):
        raise StageError(
            "merge: the merged model computes the same as the base: nothing was merged"
        )
    return {"max_logit_diff": diff, "max_logit_change": change}


def _as_trained(run: Run) -> dict[str, Any]:
    """How to load the base as the adapter saw it: in NF4 for qlora, if the merge does so."""
    import torch
    from transformers import BitsAndBytesConfig

    if run.recipe.train.get("adapter") != "qlora" or run.recipe.merge.method == "plain":
        return {}
    dtype = torch.bfloat16 if run.recipe.train.get("bf16") else torch.float32
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": nf4}


def _load(run: Run, folder: Path, options: dict[str, Any] | None = None) -> Any:
    from transformers import AutoModelForCausalLM

    device = run.recipe.hardware.device
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", device_map=device, **(options or {})
    ).eval()


def _logits(net: Any, prompts: list[list[int]]) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [net(torch.tensor([ids], device=net.device)).logits.float().cpu() for ids in prompts]


def _distance(one: list[Any], other: list[Any]) -> float:
    """Largest difference over all rows; NaN, which Python's ``max`` may drop, stays."""
    import torch

    largest = [(a - b).abs().max() for a, b in zip(one, other, strict=True)]
    return float(torch.stack(largest).max())
