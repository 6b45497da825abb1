"""Engines: the model behind one interface (:mod:`serve.engine.base`)."""

from pathlib import Path

from serve.config import ServeConfig
from serve.engine.base import Engine


def build_engine(model_dir: Path, config: ServeConfig, device: str) -> Engine:
    """Loads a model folder into the engine that ``config.engine`` names (one, for now).

    Args:
        model_dir: a self-contained Hugging Face folder (config, safetensors, tokenizer).
        config: the recipe's ``serve`` section.
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        Exception: whatever the loader raises when the folder cannot be loaded.
    """
    from serve.engine.hf_dynamic import HfDynamic
    from serve.engine.loading import load_model

    return HfDynamic(load_model(model_dir, config, device))
