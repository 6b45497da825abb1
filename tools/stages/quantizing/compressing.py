"""Runs beside llm-compressor: a merged folder becomes one in the layout of compressed-tensors.

``python -m tools.stages.quantizing.compressing request.json answer.json`` with llm-compressor on
PYTHONPATH, by the main environment's Python. A request is ``{"model", "folder", "scheme",
"modifier", "group_size", "smoothing_strength", "ignore", "rows", "seed"}``; ``rows`` are token ids.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tools.run.compressed import PER_ROW
from tools.stages import generation

TARGETS = ["Linear"]  # torch's class, and what is made of it


def scheme_of(name: str, group_size: int) -> Any:
    """llm-compressor's scheme of a name, in groups of a size.

    Args:
        name: as ``W4A16``.
        group_size: weights that share a scale, ``PER_ROW``, or 0 for a format without groups.
    """
    from compressed_tensors.quantization import preset_name_to_scheme

    scheme = preset_name_to_scheme(name, list(TARGETS))
    if group_size:
        weights: Any = scheme.weights
        groups = {"group_size": group_size, "strategy": "group"}
        rows = {"group_size": None, "strategy": "channel"}
        changed = weights.model_dump() | (rows if group_size == PER_ROW else groups)
        scheme.weights = type(weights).model_validate(changed)
    return scheme


def modifiers_of(request: dict[str, Any], ignore: list[str]) -> list[Any]:
    """What llm-compressor does to the model, in order."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    scheme = scheme_of(request["scheme"], request["group_size"])
    options = {"config_groups": {"group_0": scheme}, "ignore": ignore}
    found: list[Any] = []
    if request["smoothing_strength"]:
        found.append(SmoothQuantModifier(smoothing_strength=request["smoothing_strength"]))
    if request["modifier"] == "gptq":
        return [*found, GPTQModifier(**options)]
    if request["modifier"] == "awq":
        found.append(AWQModifier())
    return [*found, QuantizationModifier(**options)]


def loader_of(rows: list[list[int]]) -> Any:
    """A row a batch: nothing is padded, so nothing but the row's own tokens is looked at."""
    from torch.utils.data import DataLoader

    batches: Any = [
        {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), dtype=torch.long)}
        for ids in rows
    ]
    return DataLoader(batches, batch_size=1)


def head_of(model: Any) -> list[str]:
    """The name of the output head's module, which stays whole in every format."""
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if module is head]


def layers_of(model: Any) -> tuple[int, list[str]]:
    """How many layers are quantized, and the names of the linear ones that are stored whole.

    compressed-tensors stores a subclass of ``nn.Linear`` whole, though it has rounded it.
    """
    linear = {name: one for name, one in model.named_modules() if isinstance(one, torch.nn.Linear)}
    whole = [
        name
        for name, one in linear.items()
        if type(one) is not torch.nn.Linear or not hasattr(one, "quantization_scheme")
    ]
    return len(linear) - len(whole), whole


def _warns(line: Any) -> bool:
    """Whether a line of the log is for people: its measurements stand above warnings."""
    return line["level"].name in ("WARNING", "ERROR") and "No accelerator" not in line["message"]


def _without_a_card() -> None:
    """AWQ pins memory for a card, which fails where there is none; nothing else of it asks for one.

    findings/llmcompressor-0.14.0.1-awq-on-a-cpu.sh
    """
    if not torch.accelerator.is_available():
        from llmcompressor.pipelines.cache import IntermediatesCache

        IntermediatesCache.pin_memory = lambda *_: None


def compress(request: dict[str, Any]) -> dict[str, Any]:
    """Make the folder; what was done."""
    from llmcompressor import oneshot
    from loguru import logger
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told: list[str] = []
    logger.add(lambda line: told.append(str(line).strip()), filter=_warns, format="{message}")
    _without_a_card()
    torch.manual_seed(request["seed"])
    net = AutoModelForCausalLM.from_pretrained(request["model"], dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    generation.settle_loaded(net.generation_config)  # of a merge by an older version
    oneshot(
        model=net,
        processor=tokenizer,
        recipe=modifiers_of(request, [*head_of(net), *request["ignore"]]),
        dataset=loader_of(request["rows"]) if request["rows"] else None,
    )
    layers, whole = layers_of(net)
    if layers:
        net.save_pretrained(request["folder"])
        tokenizer.save_pretrained(request["folder"])
    return {"layers": layers, "whole": whole, "told": told}


def main() -> None:
    """Answer what the command line names."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(compress(asked)), encoding="utf-8")


if __name__ == "__main__":
    main()
