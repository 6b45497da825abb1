"""The quantize verb: the merged model in the recipe's format, proven to load and predict."""

import shutil
from pathlib import Path
from typing import Any

from tools import axolotl, base_model
from tools.console import say
from tools.data import tokens
from tools.errors import StageError
from tools.run.folder import Run
from tools.stages import generation
from tools.stages.four_bits import double_quant, packed
from tools.stages.loading import load, unmapped
from tools.stages.perplexity import perplexity


def quantize(run: Run) -> dict[str, Any]:
    """Make ``quantized/``: a self-contained model folder.

    Raises:
        StageError: the quantizer failed, its files do not load back, or perplexity on held-out rows
            grew by more than ``quantize.max_perplexity_ratio``.
    """
    wanted = run.recipe.quantize
    if wanted.format == "none":
        say("quantize: quantize.format is none; the merged model is served")
        return {}
    merged = run.output("merge")
    with run.produce("quantize") as work:
        say(f"quantize: {wanted.format}")
        if wanted.format in axolotl.QUANTIZATION:
            _by_axolotl(run, merged, work.folder)
        else:
            _by_bitsandbytes(run, merged, work.folder)
        work.note(**_verify(run, merged, work.folder))
    found = work.metrics
    say(
        f"quantize: perplexity on {found['perplexity_rows']} held-out rows: merged "
        f"{found['merged_perplexity']:.4f}, quantized {found['quantized_perplexity']:.4f}, ratio "
        f"{found['perplexity_ratio']:.4f} (allowed {wanted.max_perplexity_ratio:g}); "
        f"{found['merged_mb']:.0f} MB became {found['quantized_mb']:.0f} MB"
    )
    return found


def _by_bitsandbytes(run: Run, merged: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    # What the worker computes in: float32 where there is no card.
    dtype = torch.float32 if run.recipe.hardware.device == "cpu" else torch.bfloat16
    if run.recipe.quantize.format == "int8":
        how = BitsAndBytesConfig(load_in_8bit=True)
    else:
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=double_quant(run.recipe),
            bnb_4bit_compute_dtype=dtype,
        )
    with unmapped():  # packed as it is read: the merged model is never whole in memory
        net = AutoModelForCausalLM.from_pretrained(
            merged, dtype=dtype, quantization_config=how, device_map=run.recipe.hardware.device
        )
    if not packed(net):
        raise StageError(
            f"quantize: bitsandbytes replaces none of {merged}'s layers, which are of a kind of "
            f"their own ({type(net).__name__}): set quantize.format=none"
        )
    generation.settle_loaded(net.generation_config)  # of a merge by an older version
    net.save_pretrained(folder)
    AutoTokenizer.from_pretrained(merged).save_pretrained(folder)


def _by_axolotl(run: Run, merged: Path, folder: Path) -> None:
    # A file of its own: Axolotl opens debug.log in its output_dir, the adapter's in the other file,
    # before it looks at what a caller wants.
    config = axolotl.render(run, merged, "quantize.yaml", output_dir=str(folder))
    axolotl.call(run, "quantize", config, {"base_model": str(merged)})
    (folder / "debug.log").unlink(missing_ok=True)  # the run's logs have it, too
    inner = folder / "quantized"
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()
    if (merged / "generation_config.json").is_file():
        shutil.copy(merged / "generation_config.json", folder)


def _verify(run: Run, merged: Path, quantized: Path) -> dict[str, Any]:
    """Load both from the disk and compare them where neither was trained."""
    wanted, device = run.recipe.quantize, run.recipe.hardware.device
    file = tokens.files(run, base_model.local_folder(run.recipe.model))["validation"]
    data = tokens.read(file, wanted.perplexity_rows, run.recipe.serve.context)
    before = perplexity(load(merged, device), data, "perplexity of merged")
    try:
        net = load(quantized, device)
    except Exception as error:
        # A quantizer's files can fail to load in many ways; each means that nothing usable was
        # made.
        raise StageError(
            f"quantize: the {wanted.format} files do not load back ({type(error).__name__}: "
            f"{error}); this card's formats are {', '.join(run.recipe.hardware.quantize_formats)}"
        ) from error
    after = perplexity(net, data, "perplexity of quantized")
    ratio = after / before
    if not ratio <= wanted.max_perplexity_ratio:  # so put, NaN does not pass
        raise StageError(
            f"quantize: perplexity grew from {before:.4f} to {after:.4f}, ratio {ratio:.4f}, more "
            f"than quantize.max_perplexity_ratio = {wanted.max_perplexity_ratio:g}; use a finer "
            "format"
        )
    return {
        "merged_perplexity": before,
        "quantized_perplexity": after,
        "perplexity_ratio": ratio,
        "perplexity_rows": len(data),
        "merged_mb": _megabytes(merged),
        "quantized_mb": _megabytes(quantized),
    }


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6
