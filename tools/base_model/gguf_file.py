"""What a GGUF says that transformers 5.20 does not read: how positions turn, whether a BOS is put.

It drops ``rope_freqs`` (Llama 3.1's long context) and ``rope.scaling`` of a Llama without a word,
and the model answers otherwise; ``add_bos_token`` is not read either.
"""

import math
from pathlib import Path
from typing import Any

from tools.errors import UserError

#: Of Llama 3.1 to 3.3, which the file does not name: low and high frequency factor, first context.
_LOW, _HIGH, _FIRST = 1.0, 4.0, 8192
_SPM = "llama"  # llama.cpp's name of SentencePiece, where a BOS is put unless the file says no


def told(file: Path) -> dict[str, Any]:
    """What a file says beside its weights.

    Args:
        file: the GGUF.

    Returns:
        ``rope``: of ``config.rope_parameters`` what differs from the plain kind; ``add_bos``.

    Raises:
        UserError: positions turn in a way that cannot be told in a ``config.json``.
    """
    from gguf import GGUFReader

    reader = GGUFReader(file)
    values = {
        name: field.contents() for name, field in reader.fields.items() if len(field.data) < 2
    }
    tensors = {
        tensor.name: tensor.data for tensor in reader.tensors if tensor.name.startswith("rope_")
    }
    kind = values.get("general.architecture", "")
    here = {name.removeprefix(f"{kind}."): value for name, value in values.items()}
    by_model = here.get("tokenizer.ggml.model") == _SPM
    return {
        "rope": _rope(file, here, tensors),
        "add_bos": bool(here.get("tokenizer.ggml.add_bos_token", by_model)),
    }


def _rope(file: Path, here: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """Scaled positions, as ``config.rope_parameters`` has them."""
    kind = here.get("rope.scaling.type", "none")
    factor = float(here.get("rope.scaling.factor", here.get("rope.scale_linear", 1.0)))
    freqs = tensors.pop("rope_freqs.weight", None)
    if tensors or kind not in ("none", "linear") or (freqs is not None and factor != 1):
        named = ", ".join([*tensors, f"rope.scaling.type={kind}"])
        raise UserError(
            f"model.package.file: {file.name} scales positions by {named}, which is not read; set "
            "model.source=local and model.path to the model's Hugging Face folder"
        )
    if freqs is not None:
        return _llama3(file, here, [float(one) for one in freqs])
    if kind == "linear" and factor != 1:
        return {"rope_type": "linear", "factor": factor}
    return {}


def _llama3(file: Path, here: dict[str, Any], freqs: list[float]) -> dict[str, Any]:
    """Llama 3.1's, found again from its factors, one a pair of dimensions."""
    factor, base = round(max(freqs), 4), float(here.get("rope.freq_base", 10000.0))
    found = [_factor(base ** (-i / len(freqs)), factor) for i in range(len(freqs))]
    if any(abs(a - b) > 1e-3 * b for a, b in zip(freqs, found, strict=True)):
        raise UserError(
            f"model.package.file: {file.name} has rope_freqs that are not Llama 3.1's; set "
            "model.source=local and model.path to the model's Hugging Face folder"
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LOW,
        "high_freq_factor": _HIGH,
        "original_max_position_embeddings": _FIRST,
    }


def _factor(frequency: float, factor: float) -> float:
    """By how much a frequency, radians a token, is slowed."""
    turns = _FIRST * frequency / (2 * math.pi)
    if turns > _HIGH:
        return 1.0
    if turns < _LOW:
        return factor
    smooth = (turns - _LOW) / (_HIGH - _LOW)
    return 1 / ((1 - smooth) / factor + smooth)
