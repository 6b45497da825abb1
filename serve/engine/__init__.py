"""Engines: the model behind one interface (:mod:`serve.engine.base`)."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from serve.config import ServeConfig
from serve.engine import mapped
from serve.engine.base import Engine

if TYPE_CHECKING:
    from serve.engine.formats import Told
    from serve.engine.loading import LoadedModel

log = logging.getLogger(__name__)


def build_engine(model_dir: Path, config: ServeConfig, device: str) -> Engine:
    """Loads a model folder into the engine that ``config.engine`` names.

    Args:
        model_dir: a self-contained Hugging Face folder (config, safetensors, tokenizer).
        config: the recipe's ``serve`` section.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        StartError: the engine does not answer with a model of this kind.
        Exception: whatever the loader raises when the folder cannot be loaded.
    """
    # libgomp lets idle threads spin only while it has no more threads than cores, and every thread
    # that has computed keeps a team: the loading one must end (a fifth more tokens/s, measured).
    with ThreadPoolExecutor(1, thread_name_prefix="load") as loader:
        engine = loader.submit(_build, model_dir, config, device).result()
    mapped.leave(model_dir)
    return engine


def _build(model_dir: Path, config: ServeConfig, device: str) -> Engine:
    # Imported where they are built: none needs the libraries of another.
    from serve.engine.kinds import check_engine, kind_of
    from serve.startup import check_device

    kind = kind_of(model_dir)
    check_engine(kind, config)
    check_device(config, device)
    if config.engine == "vllm":
        from serve.engine.vllm import Vllm

        return Vllm(model_dir, config, device)
    from serve.engine import formats
    from serve.engine.hf_dynamic import HfDynamic
    from serve.engine.loading import load_model
    from serve.engine.reference import Reference

    if kind.name == "causal" and config.engine == "transformers":
        return _batching(*formats.load(model_dir, config, device), config)
    loaded = load_model(model_dir, config, device)
    if kind.name != "causal":
        return _conditional(loaded, config, kind.name)
    return Reference(loaded) if config.engine == "reference" else HfDynamic(loaded)


def _conditional(loaded: "LoadedModel", config: ServeConfig, kind: str) -> Engine:
    """The engine of an encoder, with a decoder or alone."""
    from serve.engine.conditional import Conditional
    from serve.engine.encdec import EncoderDecoder
    from serve.engine.filling import MaskFilling
    from serve.engine.packed import pack

    net = (EncoderDecoder if kind == "seq2seq" else MaskFilling)(loaded)
    if loaded.info.device == "cpu":
        pack(loaded.model)
    return Conditional(loaded, net, config)


def _batching(loaded: "LoadedModel", told: "Told | None", config: ServeConfig) -> Engine:
    """The batching engine if the model passes its self-check, else ``hf-dynamic``.

    Args:
        loaded: the model.
        told: what it says in float32; None where nothing coarser answers.
        config: the recipe's ``serve`` section.
    """
    from serve.engine import formats, stepping
    from serve.engine.attention import Unsupported
    from serve.engine.batching import Batching
    from serve.engine.hf_dynamic import HfDynamic
    from serve.engine.installing import uninstall
    from serve.engine.packed import pack

    own = loaded.model.config._attn_implementation
    # Before packing and our attention: they are held against what the model gives now.
    samples = stepping.self_check_samples(loaded.model.get_input_embeddings().num_embeddings)
    expected = stepping.expected_logits(loaded.model, samples)
    if loaded.info.device == "cpu" and config.dtype != "int8":  # which is made of whole layers
        pack(loaded.model)
    try:
        stepper = stepping.Stepper(loaded, config.prefill_tokens if config.deterministic else 0)
        stepping.self_check(stepper, samples, expected)
    except Unsupported as reason:
        log.warning("no batching for this model (%s): requests are answered one by one", reason)
        uninstall(loaded.model, own)
        loaded = replace(loaded, info=replace(loaded.info, engine="hf-dynamic"))
        if told:
            loaded = formats.settle(loaded, told, config, formats.plainly(loaded.model))
        return HfDynamic(loaded)
    if told:
        loaded = formats.settle(loaded, told, config, formats.stepped(stepper))
    return Batching(loaded, stepper, config)
