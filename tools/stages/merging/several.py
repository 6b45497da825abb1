"""Several adapters of one base as one: PEFT weighs and adds them, on a base without numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.check.rules.merged import unweighable
from tools.errors import StageError, UserError
from tools.files import read_json
from tools.recipe.schema import Combination
from tools.stages.merging import adapter as single
from tools.stages.merging.skeleton import Skeleton

# PEFT looks for an adapter's name anywhere in a layer's: one called 0 would be that of layers.0.
_PART, _TOGETHER = "part-{}", "together"


@dataclass(frozen=True)
class How:
    """How adapters become one.

    Attributes:
        combination: PEFT's ``combination_type``.
        density: share of the numbers that is kept, where it drops some.
        seed: of what it drops by chance.
    """

    combination: Combination
    density: float
    seed: int


def combine(base: Path, parts: Sequence[tuple[Path, float]], how: How, folder: Path) -> Path:
    """Write one adapter that changes the base as the parts do together.

    Args:
        base: the base model's folder.
        parts: folder and weight of each.
        how: as the recipe has it.
        folder: of the new one; must not be there.

    Returns:
        That folder.

    Raises:
        UserError: a part is not there or another base's.
        StageError: a part is more than matrices A and B, or they are not of one rank.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    states = [matrices(base, path) for path, _ in parts]
    if how.combination != "cat":
        _demand_shapes([path for path, _ in parts], states)
    net = _with_all(base, [path for path, _ in parts], states)
    _weigh(net, [weight for _, weight in parts], how)
    made = get_peft_model_state_dict(net, adapter_name=_TOGETHER, save_embedding_layers=False)
    folder.mkdir()
    save_file({name: one.contiguous() for name, one in made.items()}, folder / single.FILE)
    config = net.peft_config[_TOGETHER]
    config.inference_mode = True
    config.save_pretrained(folder)
    return folder


def matrices(base: Path, folder: Path) -> dict[str, Any]:
    """A part's matrices, once it is known to be of this base.

    Raises:
        UserError: it is not there or another base's.
        StageError: it is more than matrices A and B.
    """
    state = single.read(folder)  # says what is missing
    if what := unweighable(read_json(folder / "adapter_config.json") or {}):
        raise StageError(
            f"merge: {folder} is an adapter with {what}, which cannot be weighed against others: "
            "merge it alone, or train it without"
        )
    single.Adapter(Skeleton(base), folder)  # says what does not fit
    kept = {name: one for name, one in state.items() if ".lora_" in name}
    known = Skeleton(base).weights
    trained = [
        name for name, one in state.items() if name not in kept and not _frozen(name, one, known)
    ]
    if trained:
        raise StageError(
            f"merge: {folder} holds {trained[0]}, which is no matrix A or B and cannot be weighed "
            "against others: merge it alone"
        )
    return kept


def _frozen(name: str, tensor: Any, known: dict[str, Any]) -> bool:
    """Whether it is an embedding of the base, which PEFT saves beside an adapter of it."""
    own = known.get(name.removeprefix("base_model.model.").replace(".base_layer.", "."))
    return own is not None and own.shape == tensor.shape


def _demand_shapes(folders: Sequence[Path], states: Sequence[dict[str, Any]]) -> None:
    """Layers that several change are changed by matrices of one shape."""
    seen: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for folder, state in zip(folders, states, strict=True):
        for name, tensor in state.items():
            first, shape = seen.setdefault(name, (folder, tuple(tensor.shape)))
            if shape != tuple(tensor.shape):
                raise UserError(
                    f"merge.combine: {name} is {list(shape)} in {first}, {list(tensor.shape)} in "
                    f"{folder}: matrices of two ranks are added by cat alone; set merge.combine=cat"
                )


def _with_all(base: Path, folders: Sequence[Path], states: Sequence[dict[str, Any]]) -> Any:
    """PEFT's model with every part in it, named by its place; the base is one zero, seen often."""
    import torch
    from peft import PeftConfig, PeftModel, set_peft_model_state_dict

    skeleton = Skeleton(base)
    for module in skeleton.net.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            # On meta PEFT would make the new matrices there, too, and lose what it computes.
            zero = torch.zeros(()).expand(weight.shape)
            setattr(module, name, torch.nn.Parameter(zero, requires_grad=False))
    net: Any = None
    for number, (folder, state) in enumerate(zip(folders, states, strict=True)):
        name, config = _PART.format(number), PeftConfig.from_pretrained(folder)
        config.inference_mode, config.init_lora_weights = True, False
        if net is None:
            net = PeftModel(skeleton.net, config, adapter_name=name)
        else:
            net.add_adapter(name, config)
        set_peft_model_state_dict(net, state, adapter_name=name)
    return net


def _weigh(net: Any, weights: list[float], how: How) -> None:
    """Let PEFT make the new adapter."""
    import torch

    # What it copies for the new one: scales are in its matrices already.
    net.peft_config[_PART.format(0)].use_rslora = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        try:
            net.base_model.add_weighted_adapter(
                [_PART.format(number) for number in range(len(weights))],
                weights,
                _TOGETHER,
                combination_type=how.combination,
                density=how.density,
            )
        except (ValueError, RuntimeError) as error:
            raise StageError(f"merge.adapters: PEFT cannot add them: {error}") from None
