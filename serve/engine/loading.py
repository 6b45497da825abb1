"""From a model folder to a model that computes: weights, tokenizer, what ends an answer."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from serve.config import ServeConfig
from serve.engine import unpacking
from serve.engine.base import ModelInfo
from serve.engine.grammar import Grammars
from serve.engine.kinds import Kind, kind_of
from serve.engine.lora import Adapters, attach
from serve.startup import StartError
from serve.text import TextCodec
from serve.windows import window


@dataclass(frozen=True)
class LoadedModel:
    """A model with what generation needs to know about it.

    Attributes:
        model: on its device, in evaluation mode.
        text: its tokenizer.
        eos_ids: tokens that end an answer.
        info: for people.
        adapters: the LoRA adapters beside its weights, if any.
        grammars: compiles the JSON schemas that answers must follow; None: there is no llguidance.
    """

    model: PreTrainedModel
    text: TextCodec
    eos_ids: frozenset[int]
    info: ModelInfo
    adapters: Adapters | None = None
    grammars: Grammars | None = None


def thread_count(config: ServeConfig) -> int:
    """Torch threads on the CPU: as configured, else all usable cores but one, at least one.

    The last core is left to HTTP: with every core in an OpenMP team, anything else that runs makes
    the whole team wait.
    """
    return config.threads or max(1, len(os.sched_getaffinity(0)) - 1)


def load_model(model_dir: Path, config: ServeConfig, device: str) -> LoadedModel:
    """Loads a merged or quantized model folder, and the adapters beside it.

    Quantized weights are unpacked where nothing computes with them as they are, see ``unpacking``.
    Of ``dtype: int8`` it is in float32 still, see ``formats``.

    Args:
        model_dir: a self-contained Hugging Face folder.
        config: ``dtype``, ``threads``, ``context`` and ``adapters``.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        Exception: whatever transformers raises when the folder cannot be loaded.
        StartError: an adapter cannot be read or does not fit; weights are missing.
    """
    kind = kind_of(model_dir)
    cpu = device == "cpu"
    transformers.utils.logging.disable_progress_bar()  # stderr is for lines of JSON
    if cpu:
        torch.set_num_threads(thread_count(config))
    else:
        # It builds a plan for each new shape (0.4 s by others' reports), and every step has one.
        torch.backends.cuda.enable_cudnn_sdp(False)
    dtype = "float32" if cpu and config.dtype in ("auto", "int8") else config.dtype
    with unpacking.without_bars():
        model, told = getattr(transformers, kind.auto_class).from_pretrained(
            model_dir,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            device_map={"": device},
            output_loading_info=True,
        )
    if kind.whole:
        _check_whole(model_dir, told["missing_keys"])
    method = unpacking.method_of(model)
    model = unpacking.unpack(model)
    if cpu and method != "none":
        model = model.to(getattr(torch, dtype))
    model.eval()
    if getattr(model.config, "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")  # transformers' SDPA leaves the cap out, unsaid
    adapters = None
    if config.adapters:
        folders = {name: Path(folder) for name, folder in config.adapters.items()}
        adapters = attach(model, folders, one_shape=config.deterministic)
    text = TextCodec.load(model_dir)
    behind = len(text.trail) if kind.ends_prompt else 0
    info = _info(model, model_dir, config, device, method, kind, behind)
    # Now, because llguidance holds Python's lock over it: 1 s for 128,000 tokens.
    grammars = Grammars.load(text, model.get_input_embeddings().num_embeddings)
    return LoadedModel(model, text, _eos_ids(model, text), info, adapters, grammars)


def _check_whole(model_dir: Path, missing: Collection[str]) -> None:
    """Refuses a folder without all of its weights: transformers would draw the rest."""
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise StartError(
            f"{model_dir}: has no weights for {some} ({len(missing)} missing), so that its answers"
            " would be noise; serve a folder that was saved with its language-model head"
        )


def _info(
    model: PreTrainedModel,
    model_dir: Path,
    config: ServeConfig,
    device: str,
    method: str,
    kind: Kind,
    behind: int,
) -> ModelInfo:
    """What is loaded; ``behind`` is how many tokens of the window stand behind every prompt."""
    limit = window(model.config.to_dict())
    return ModelInfo(
        name=model_dir.resolve().name,
        engine=kind.engine if config.engine == "transformers" else config.engine,
        device=device,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=method,
        parameters=model.num_parameters(),
        context=min(config.context, limit - behind if limit else config.context),
        unscored=kind.unscored,
    )


def _eos_ids(model: PreTrainedModel, text: TextCodec) -> frozenset[int]:
    """Tokens that end an answer: generation_config's (one, several, none) and the tokenizer's."""
    generation = getattr(model, "generation_config", None)  # encoders have none
    configured = generation.eos_token_id if generation else None
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*listed, text.eos_id) if token is not None)
