"""From a model folder to a model that computes: weights, tokenizer, what ends an answer."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from serve.config import ServeConfig
from serve.engine.base import ModelInfo
from serve.text import TextCodec


@dataclass(frozen=True)
class LoadedModel:
    """A model with what generation needs to know about it."""

    model: PreTrainedModel
    text: TextCodec
    eos_ids: frozenset[int]
    info: ModelInfo


def thread_count(config: ServeConfig) -> int:
    """Torch threads on the CPU: as configured, else all usable cores but one, at least one.

    The last core is left to HTTP: with every core in an OpenMP team, anything else that runs makes
    the whole team wait.
    """
    return config.threads or max(1, len(os.sched_getaffinity(0)) - 1)


def load_model(model_dir: Path, config: ServeConfig, device: str) -> LoadedModel:
    """Loads a merged or quantized model folder.

    On a CPU everything computes in float32, and bitsandbytes weights are unpacked to the very same
    numbers: their CPU kernels are about ten times slower than float32.
    """
    cpu = device == "cpu"
    transformers.utils.logging.disable_progress_bar()
    if cpu:
        torch.set_num_threads(thread_count(config))
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.float32 if cpu else "auto", device_map={"": device}
    )
    stored = getattr(model.config, "quantization_config", None)
    method = getattr(stored, "quant_method", "none")
    method = str(getattr(method, "value", method))
    if cpu and method == "bitsandbytes":
        model = model.dequantize().float()
    model.eval()
    text = TextCodec.load(model_dir)
    limit = getattr(model.config, "max_position_embeddings", None) or config.context
    info = ModelInfo(
        name=model_dir.resolve().name,
        engine=config.engine,
        device=device,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=method,
        parameters=model.num_parameters(),
        context=min(config.context, limit),
    )
    return LoadedModel(model, text, _eos_ids(model, text), info)


def _eos_ids(model: PreTrainedModel, text: TextCodec) -> frozenset[int]:
    """Tokens that end an answer: generation_config's (one, several, none) and the tokenizer's."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*listed, text.eos_id) if token is not None)
