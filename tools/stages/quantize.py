"""The quantize verb: the merged model in the recipe's format, proven to load and predict."""

import shutil
from pathlib import Path
from typing import Any

from tools import axolotl
from tools.base_model.architecture import of_folder
from tools.console import say
from tools.errors import StageError, UserError
from tools.evaluate import side_by_side
from tools.recipe.formats import FORMATS, made_of, not_made
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Quantize
from tools.run.folder import Run
from tools.stages import gate, generation
from tools.stages.four_bits import double_quant, packed
from tools.stages.loading import load, load_in_8_bits, unmapped
from tools.stages.loading.mapped import free_at_once
from tools.stages.merging.skeleton import Skeleton
from tools.stages.quantizing import compressor

NARROWEST = 64  # inputs of a layer: bitsandbytes' block in nf4


def quantize(run: Run) -> dict[str, Any]:
    """Make ``quantized/``: a self-contained model folder.

    Raises:
        UserError: the recipe's format is not made here.
        StageError: the quantizer failed, its files do not load back, or the model is beyond one of
            the recipe's limits and ``quantize.keep`` is false.
    """
    wanted = run.recipe.quantize
    if wanted.format == "none":
        say(f"quantize: {_named(wanted)}; the merged model is served")
        return {}
    merged = run.output("merge")
    free_at_once()
    with run.produce("quantize") as work:
        say(f"quantize: {_named(wanted)}")
        work.note(**_make(run, merged, work.folder))
        work.note(limits=gate.limits(wanted))
        if wanted.chosen:
            work.note(chosen=wanted.chosen)
        work.note(**_sizes(merged, work.folder))
        work.note(**_held(run, merged, work.folder))
    return work.metrics


def _named(wanted: Quantize) -> str:
    """The format, and why ``auto`` took it."""
    return f"format auto takes {wanted.chosen}" if wanted.chosen else f"format {wanted.format}"


def _make(run: Run, merged: Path, folder: Path) -> dict[str, Any]:
    """Have the format's tool write the folder; what it tells of how.

    Raises:
        UserError: the tool makes it of causal models only, and this is none.
    """
    name, kind = run.recipe.quantize.format, of_folder(merged).name
    if not made_of(name, kind):
        raise UserError(
            f"quantize: {merged} is {KINDS[kind].said}: {not_made(name)}; set "
            "quantize.format=int8, nf4 or none"
        )
    makers = {
        "bitsandbytes": _by_bitsandbytes,
        "axolotl": _by_axolotl,
        "llm-compressor": compressor.make,
    }
    return makers[FORMATS[name].tool](run, merged, folder) or {}


def _held(run: Run, merged: Path, quantized: Path) -> dict[str, Any]:
    """The model beside the merged one: what was measured, and told.

    Raises:
        StageError: it is beyond a limit, and is not to be kept.
    """
    wanted, device = run.recipe.quantize, run.recipe.hardware.device
    found = gate.compare(run, lambda: load(merged, device), lambda: _loaded(run, quantized))
    gate.tell(found, wanted)
    faults = _judged(run, gate.beyond(found, wanted))  # before HELM's minutes
    if wanted.tier:
        _let_go()
        models = {"merged": merged, "quantized": quantized}
        found["tier"] = side_by_side.ask(run, wanted.tier, models)
        gate.tell_tier(found["tier"], wanted)
        faults += _judged(run, gate.lost(found["tier"], wanted))
    return {**found, "beyond": faults} if faults else found


def _judged(run: Run, faults: list[str]) -> list[str]:
    """The faults as they came, said loudly where the model is kept all the same.

    Raises:
        StageError: there are some, and ``quantize.keep`` is false.
    """
    if not faults:
        return []
    said = "; ".join(faults)
    if not run.recipe.quantize.keep:
        raise StageError(
            f"quantize: {said}; use a finer format, raise the limit, or keep the model as it is: "
            "SET=quantize.keep=true"
        )
    say(f"quantize: WARNING: beyond the recipe's limits, and kept (quantize.keep): {said}")
    return faults


def _let_go() -> None:
    """Give the card's memory back: the worker is another process."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _by_bitsandbytes(run: Run, merged: Path, folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BitsAndBytesConfig

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
        _demand_wide(merged, how)
    with unmapped():  # packed as it is read: the merged model is never whole in memory
        net = (
            of_folder(merged)
            .loader()
            .from_pretrained(
                merged, dtype=dtype, quantization_config=how, device_map=run.recipe.hardware.device
            )
        )
    if not packed(net):
        raise StageError(
            f"quantize: bitsandbytes replaces none of {merged}'s layers, which are of a kind of "
            f"their own ({type(net).__name__}): set quantize.format=none"
        )
    # Of a merge by an older version; what generates nothing has none.
    generation.settle_loaded(getattr(net, "generation_config", None))
    net.save_pretrained(folder)
    AutoTokenizer.from_pretrained(merged).save_pretrained(folder)


def _demand_wide(merged: Path, how: Any) -> None:
    """No layer is narrower than what 4 bits share a scale in.

    Raises:
        UserError: one is: bitsandbytes packs it, and fails as soon as it computes.
    """
    skeleton = Skeleton(merged)
    narrow = [
        f"{name} reads {width}"
        for name in skeleton.in_four_bits(how)
        if (width := skeleton.weights[name].shape[-1]) < NARROWEST
    ]
    if narrow:
        raise UserError(
            f"quantize: nf4 needs layers of {NARROWEST} inputs or more, and {narrow[0]} "
            f"({len(narrow)} such layers): bitsandbytes packs them, and cannot compute with them; "
            "set quantize.format=int8 or none"
        )


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


def _loaded(run: Run, quantized: Path) -> Any:
    """The quantized model as the worker loads it, and computes with it.

    Raises:
        StageError: its files do not load back.
    """
    card, wanted = run.recipe.hardware, run.recipe.quantize
    try:
        if run.recipe.serve.dtype == "int8":
            return load_in_8_bits(quantized)
        return load(quantized, card.device)
    except Exception as error:
        # A quantizer's files can fail to load in many ways; each means that nothing usable was
        # made.
        raise StageError(
            f"quantize: the {wanted.format} files do not load back ({type(error).__name__}: "
            f"{error}); this card's formats are {', '.join(card.quantize_formats)}"
        ) from error


def _sizes(merged: Path, quantized: Path) -> dict[str, float]:
    """Of both, and told."""
    found = {"merged_mb": _megabytes(merged), "quantized_mb": _megabytes(quantized)}
    say(f"quantize: {found['merged_mb']:.0f} MB became {found['quantized_mb']:.0f} MB")
    return found


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6
