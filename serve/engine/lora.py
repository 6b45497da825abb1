"""LoRA adapters beside the weights: several at once, one chosen for each token of a batch.

The engine feeds the tokens of many requests as one flat batch. Each adapted linear module computes
``base(x)`` once for all of them and adds, for the tokens of a request that asked for an adapter,
that adapter's ``scale * B(A(x))``. All adapters of a module are kept as one pair of matrices, so a
mixed batch costs two small products, however many adapters it mixes.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from serve.startup import StartError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_KEY = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<half>[AB])\.weight")

#: Keys of PEFT's LoraConfig that change what the adapter computes in ways not done here, when set.
_NOT_DONE = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
)

#: Values of ``init_lora_weights`` that alter the base weights: such an adapter fits only those.
_ALTERS_BASE = re.compile(r"pissa|corda|olora|loftq|lora_ga", re.IGNORECASE)

#: What a weight may be stored in that an adapter also computes in.
_COMPUTED = (torch.float32, torch.bfloat16, torch.float16)

_MERGE = "merge it into its model and serve that"


@dataclass(frozen=True)
class _Delta:
    """What one adapter adds to one linear module.

    Attributes:
        down: ``[rank, in]`` float32: A.
        up: ``[rank, out]`` float32: B transposed, times the scale.
    """

    down: Tensor
    up: Tensor


class _Choice:
    """Which adapter each token of the next forward pass uses; all modules of a model share it."""

    def __init__(self) -> None:
        self.only: int | None = None  # every token uses this adapter
        self.rows: Tensor | None = None  # [tokens]: each token's adapter, -1 for none
        self._masks: dict[tuple[int, ...], Tensor] = {}

    def set(self, only: int | None, rows: Tensor | None) -> None:
        self.only, self.rows = only, rows
        self._masks.clear()

    def mask(self, owners: tuple[int, ...]) -> Tensor:
        """``[tokens, ranks]``: true where a token does not use the adapter that owns the rank."""
        assert self.rows is not None
        if owners not in self._masks:
            owner = torch.tensor(owners, device=self.rows.device)
            self._masks[owners] = self.rows[:, None] != owner
        return self._masks[owners]


class LoraLinear(nn.Module):
    """A linear module with adapters beside it.

    Args:
        base: the module itself; it may be replaced by one that computes the same.
        deltas: what the adapters add, by adapter index.
        dtype: what the adapters compute in.
        device: where the base module's weight lies.
        choice: the model's choice of adapters.
    """

    def __init__(
        self,
        base: nn.Module,
        deltas: Mapping[int, _Delta],
        dtype: torch.dtype,
        device: torch.device,
        choice: _Choice,
    ) -> None:
        super().__init__()
        self.base = base
        self._choice = choice
        self._spans: dict[int, slice] = {}
        owners: list[int] = []
        for index, delta in deltas.items():
            rank = len(delta.down)
            self._spans[index] = slice(len(owners), len(owners) + rank)
            owners += [index] * rank
        self._owners = tuple(owners)
        down = torch.cat([delta.down for delta in deltas.values()]).to(device, dtype)
        up = torch.cat([delta.up for delta in deltas.values()]).to(device, dtype)
        self.down: Tensor
        self.up: Tensor
        # They move with the model, and are no part of what it saves.
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("up", up, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``; the leading dimensions together are the tokens."""
        out: Tensor = self.base(x)
        choice = self._choice
        if choice.rows is not None:
            hidden = x.to(self.down.dtype) @ self.down.T
            mask = choice.mask(self._owners).view(*x.shape[:-1], -1)
            # Filled, not multiplied: 0 times another adapter's overflow would be NaN.
            delta = hidden.masked_fill(mask, 0.0) @ self.up
        elif choice.only in self._spans:
            span = self._spans[choice.only]
            delta = x.to(self.down.dtype) @ self.down[span].T @ self.up[span]
        else:
            return out
        return out + delta.to(out.dtype)


class Adapters:
    """The adapters attached to one model.

    Attributes:
        names: what ``use`` accepts.

    Args:
        names: of the adapters, in the order of their indexes.
        choice: what the model's modules read.
        device: where token batches live.
        one_shape: see :func:`attach`.
    """

    def __init__(
        self, names: Sequence[str], choice: _Choice, device: torch.device, one_shape: bool
    ) -> None:
        self.names = tuple(names)
        self._index: dict[str | None, int] = {name: i for i, name in enumerate(names)}
        self._index[None] = -1
        self._choice, self._device, self._one_shape = choice, device, one_shape
        self._used: list[str | None] = []

    def use(self, names: Sequence[str | None]) -> None:
        """Sets the adapter of each token of the next forward passes.

        Args:
            names: one for each token of the flattened batch; None is the model itself.

        Raises:
            KeyError: a name is not one of ``names``.
        """
        if self._used == list(names):  # the masks of the last step still fit
            return
        indexes = [self._index[name] for name in names]
        kinds = set(indexes)
        # Also for one_shape: the zeros that a mixed batch adds change no number.
        if kinds <= {-1}:
            self._choice.set(None, None)
        elif len(kinds) == 1 and not self._one_shape:
            self._choice.set(indexes[0], None)
        else:
            self._choice.set(None, torch.tensor(indexes, device=self._device))
        self._used = list(names)


def attach(model: Any, adapters: Mapping[str, Path], one_shape: bool = False) -> Adapters:
    """Puts adapters beside a model's linear modules, which it replaces by :class:`LoraLinear`.

    Args:
        model: a transformers causal model; its weights are not touched.
        adapters: PEFT folders by the name that requests choose them by.
        one_shape: compute alike whichever adapters the batch uses, so that a token's result does
            not depend, by a rounding, on what its neighbours use; slower.

    Raises:
        StartError: folders that cannot be read, adapters that do what is not done here, or that do
            not fit the model; all faults at once.
    """
    faults: list[str] = []
    found: dict[str, dict[int, _Delta]] = {}
    for index, (name, folder) in enumerate(adapters.items()):
        try:
            for path, delta in _read(folder, model):
                found.setdefault(path, {})[index] = delta
        except StartError as error:
            faults += [f"adapter '{name}': {fault}" for fault in error.faults]
    if faults:
        raise StartError(*faults)
    choice = _Choice()
    for path, deltas in found.items():
        base = model.get_submodule(path)
        weight = base.weight
        dtype = weight.dtype if weight.dtype in _COMPUTED else model.dtype  # 4 and 8 bits: packed
        model.set_submodule(path, LoraLinear(base, deltas, dtype, weight.device, choice))
    return Adapters(tuple(adapters), choice, model.device, one_shape)


def _read(folder: Path, model: Any) -> Iterator[tuple[str, _Delta]]:
    """The modules an adapter is for, with what it adds to each.

    Raises:
        StartError: see :func:`attach`.
    """
    config = read_config(folder)
    faults = list(_not_done(folder, config))
    if faults:
        raise StartError(*faults)
    halves = _read_halves(folder)
    misfits = [fault for path in halves if (fault := _misfit(path, halves[path], config, model))]
    if misfits:
        raise StartError(
            f"{folder}: does not fit this model in {len(misfits)} of {len(halves)} modules, first"
            f" {misfits[0]}; it was trained on {config.get('base_model_name_or_path')}: serve that"
            " model, or train an adapter on this one"
        )
    for path, (a, b) in halves.items():
        scale = _setting(config, path, "alpha_pattern", "lora_alpha") / (
            math.sqrt(len(a)) if config.get("use_rslora") else len(a)
        )
        yield path, _Delta(a.float(), b.float().T * scale)  # scaled before it is rounded


def read_config(folder: Path) -> dict[str, Any]:
    """Reads what an adapter is.

    Raises:
        StartError: one of its two files is missing or cannot be read.
    """
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise StartError(
            f"{folder}: has no {' and no '.join(missing)}; give the folder that PEFT's"
            " save_pretrained or the training stage has written"
        )
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StartError(f"{path}: is not JSON: {error}; save the adapter again") from None
    if not isinstance(config, dict):
        raise StartError(f"{path}: must hold one JSON object; save the adapter again")
    return config


def _not_done(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Faults of an adapter that computes what :class:`LoraLinear` does not."""
    path = folder / CONFIG
    kind = config.get("peft_type")
    if kind != "LORA":
        yield f"{path}: peft_type = {kind!r}: only LORA is served beside a model; {_MERGE}"
        return
    for key in _NOT_DONE:
        if config.get(key):
            yield f"{path}: {key} = {config[key]!r}: not served beside a model; {_MERGE}"
    if config.get("bias", "none") != "none":
        yield f"{path}: bias = {config['bias']!r}: only 'none' is served beside a model; {_MERGE}"
    init = config.get("init_lora_weights")
    if isinstance(init, str) and _ALTERS_BASE.match(init):
        yield (
            f"{path}: init_lora_weights = {init!r}: has altered the base weights; save the adapter"
            f" with PEFT's path_initial_model_for_weight_conversion, or {_MERGE}"
        )
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), int | float):
            yield f"{path}: {key} = {config.get(key)!r}: must be a number; save the adapter again"


def _read_halves(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Each module's A, ``[rank, in]``, and B, ``[out, rank]``, by the module's path."""
    path = folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise StartError(f"{path}: cannot be read ({error}); save the adapter again") from None
    halves: dict[str, dict[str, Tensor]] = {}
    others: list[str] = []
    for key, tensor in tensors.items():
        if match := _KEY.fullmatch(key):
            halves.setdefault(match["path"], {})[match["half"]] = tensor
        else:
            others.append(key)
    if others:
        raise StartError(
            f"{path}: holds {len(others)} tensors besides A and B of linear modules, first"
            f" {others[0]}; these are not served beside a model: {_MERGE}"
        )
    single = [name for name, pair in halves.items() if len(pair) < 2]
    if single or not halves:
        raise StartError(f"{path}: A or B of {(single or ['all'])[0]} is missing; save it again")
    return {name: (pair["A"], pair["B"]) for name, pair in halves.items()}


def _misfit(
    path: str, halves: tuple[Tensor, Tensor], config: dict[str, Any], model: Any
) -> str | None:
    """Why an adapter's module cannot stand beside the model's, or None."""
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return f"{path}: the model has no such module"
    if not isinstance(module, nn.Linear | Conv1D):
        return f"{path}: is a {type(module).__name__} in the model, not a linear module"
    if module is model.get_output_embeddings():
        # The stepper gives it the wanted rows only, but adapters are chosen by token.
        return f"{path}: the output head, which is not adapted beside a model ({_MERGE})"
    inputs, outputs = _features(module)
    rank = _setting(config, path, "rank_pattern", "r")
    expected = (rank, inputs), (outputs, rank)
    shapes = tuple(tuple(half.shape) for half in halves)
    if shapes == expected:
        return None
    return f"{path}: A and B are {_sizes(shapes)}, not {_sizes(expected)}"


def _features(module: nn.Linear | Conv1D) -> tuple[int, int]:
    """How many numbers a linear module takes and gives."""
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    return module.in_features, module.out_features


def _sizes(shapes: Sequence[Sequence[int]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes)


def _setting(config: dict[str, Any], path: str, pattern: str, default: str) -> Any:
    """A module's own rank or alpha, found as PEFT does: the first key that ends its path."""
    for key, value in (config.get(pattern) or {}).items():
        if re.match(rf"(.*\.)?({key})$", path):
            return value
    return config[default]
