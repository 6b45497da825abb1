"""What training wrote, looked at: numbers, and not those that it began with."""

from dataclasses import dataclass
from pathlib import Path

from tools.errors import StageError
from tools.stages.merging import weights
from tools.stages.merging.skeleton import Skeleton
from tools.stages.merging.trained import is_whole

ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True)
class Learnt:
    """What was trained.

    Attributes:
        parameters: how many numbers.
        moved: whether any is another one than training began with.
        untrained: what is said where none is.
    """

    parameters: int
    moved: bool
    untrained: str


def look(folder: Path, base: Path) -> Learnt:
    """Look at an adapter, or at a model that was trained whole.

    Args:
        folder: what training wrote.
        base: folder of the base model.

    Raises:
        StageError: it holds numbers that are none.
    """
    return _model(folder, base) if is_whole(folder) else _adapter(folder)


def _adapter(folder: Path) -> Learnt:
    """The adapter loads, is finite, and is not the untrained one (LoRA's B starts at 0)."""
    from safetensors.torch import load_file

    tensors = load_file(folder / ADAPTER)
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise _broken("adapter")
    moved = any("lora_B" in name and bool(tensor.any()) for name, tensor in tensors.items())
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return Learnt(parameters, moved, "the adapter is untrained (every lora_B is zero)")


def _model(folder: Path, base: Path) -> Learnt:
    """A tensor at a time; the base's until one differs."""
    from safetensors import safe_open

    ours, theirs = weights.read(folder), weights.read(base)
    places = _places(base, theirs)
    named = _places(folder, ours)
    parameters, moved = 0, False
    for weight, one in named.items():
        with safe_open(one.file, framework="pt") as file:
            new = file.get_tensor(one.name)
        if not new.isfinite().all():
            raise _broken("model")
        parameters += new.numel()
        if moved or (other := places.get(weight)) is None:
            continue
        with safe_open(other.file, framework="pt") as file:
            old = file.get_tensor(other.name)
        moved = old.shape != new.shape or not old.to(new.dtype).equal(new)
    return Learnt(parameters, moved, "the model is untrained (its weights are the base's)")


def _places(folder: Path, tensors: dict[str, weights.Tensor]) -> dict[str, weights.Tensor]:
    """Tensors by transformers' names; those that it joins, as experts, by their own."""
    named = Skeleton(folder).names({one.name: one.shape for one in tensors.values()}, f"{folder}'s")
    return {named.get(name, name): one for name, one in tensors.items()}


def _broken(what: str) -> StageError:
    return StageError(f"train: the {what} holds NaN or infinite numbers; lower train.learning_rate")
