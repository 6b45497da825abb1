"""An adapter on a skeleton: PEFT says which layers it changes, and changes them one at a time."""

from pathlib import Path
from typing import Any

from tools.base_model import experts
from tools.check.rules.unpacked import CHANGE_BASE
from tools.errors import StageError, UserError
from tools.files import read_json
from tools.stages.merging.skeleton import Skeleton

FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # before the names of an adapter's tensors


class Adapter:
    """The layers of PEFT, holding the adapter's own matrices and nothing of the base.

    Args:
        skeleton: of the base; PEFT puts its layers into it.
        folder: the adapter's.

    Raises:
        UserError: it is the adapter of another base.
        StageError: PEFT does not take all of it back.
    """

    def __init__(self, skeleton: Skeleton, folder: Path) -> None:
        from peft import PeftConfig, PeftModel

        self._folder, self._skeleton = folder, skeleton
        state = read(folder)
        self._whole = self._take_whole(state)
        config = PeftConfig.from_pretrained(folder)
        config.inference_mode = True
        self._refuse(config)
        before = {id(weight) for weight in skeleton.net.parameters()}
        try:
            self._peft = PeftModel(skeleton.net, config, low_cpu_mem_usage=True)
        except ValueError as error:  # none of its layers is there
            raise UserError(self._of_another(str(error).splitlines()[0])) from None
        self._refuse(self._peft.peft_config["default"])  # PEFT may have made it experts'
        self._demand_fit(state)
        self._fill(state, before)

    def _take_whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Embeddings that were saved beside the adapter, where they have other rows than the base.

        Of as many rows they are the base's own: PEFT saves frozen ones, too.
        """
        skeleton, saved = self._skeleton, self._to_save()
        whole: dict[str, Any] = {}
        for name in list(state):
            weight = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
            if weight in skeleton.weights and weight not in saved:
                whole[weight] = state.pop(name)
        trained = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
        rows = self._rows({**trained, **whole})
        if not rows:
            return {}
        skeleton.resize(rows)
        # One that is tied to another need not be there twice.
        for one, other in skeleton.tied().items():
            for absent, there in ((one, other), (other, one)):
                if there in whole and absent not in whole:
                    whole[absent] = whole[there]
        return {name: tensor for name, tensor in whole.items() if len(tensor) == rows}

    def _to_save(self) -> set[str]:
        """Weights of modules that were trained whole, ``modules_to_save``."""
        config = read_json(self._folder / "adapter_config.json") or {}
        names = config.get("modules_to_save") or []
        return {
            weight
            for weight in self._skeleton.weights
            if any(module.endswith(name) for module in _above(weight) for name in names)
        }

    def _rows(self, saved: dict[str, Any]) -> int:
        """Rows of the embeddings where the adapter holds others than the base has, else 0."""
        net = self._skeleton.net
        ends = [net.get_input_embeddings().weight, net.get_output_embeddings().weight]
        for name, tensor in saved.items():
            old = self._skeleton.weights.get(name)
            if old is None or not any(old is end for end in ends):
                continue
            if old.shape[1:] == tensor.shape[1:] and len(old) != len(tensor):
                return len(tensor)
        return 0

    def _refuse(self, config: Any) -> None:
        """Ways to train that PEFT has and this merge has not."""
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        ways = ("target_parameters", "layer_replication", "lora_bias")
        what = next((key for key in ways if getattr(config, key, None)), kind)
        if getattr(config, "bias", "none") != "none":
            what = f"bias {config.bias}"
        if str(start := getattr(config, "init_lora_weights", "")).startswith(CHANGE_BASE):
            raise StageError(
                f"merge: {self._folder}: init_lora_weights {start} took its start out of the base's"
                " weights, so it is no difference to the base itself; train again without, or have "
                "PEFT save it with path_initial_model_for_weight_conversion"
            )
        if what == "target_parameters":
            raise StageError(
                f"merge: {self._folder}: an adapter with target_parameters: {experts.WHY}; train "
                f"without: {experts.REMEDY}"
            )
        if what != "LORA":
            raise StageError(
                f"merge: {self._folder}: an adapter with {what} cannot be merged here: merge it "
                "with PEFT's merge_and_unload"
            )

    def _demand_fit(self, state: dict[str, Any]) -> None:
        """Every matrix has its place and its shape."""
        from peft import get_peft_model_state_dict

        wanted = get_peft_model_state_dict(self._peft, save_embedding_layers=False)
        wrong = [
            f"{name} is {list(tensor.shape)}, that layer's would be {list(wanted[name].shape)}"
            for name, tensor in state.items()
            if name in wanted and tensor.shape != wanted[name].shape
        ]
        if wrong:
            raise UserError(self._of_another(f"{wrong[0]}, and {len(wrong) - 1} more"))
        lost = sorted(set(state) ^ set(wanted))
        if lost:
            which = "has no place for" if lost[0] in state else "finds no"
            remedy = "it is the adapter of another base: set model.path to that one"
            if self._peft.peft_config["default"].ensure_weight_tying:
                remedy = "leave train.peft_ensure_weight_tying out and train again"
            raise StageError(
                f"merge: {self._folder}: PEFT {which} {lost[0]} ({len(lost)} such matrices): "
                f"{remedy}"
            )

    def _of_another(self, why: str) -> str:
        named = (read_json(self._folder / "adapter_config.json") or {}).get(
            "base_model_name_or_path"
        )
        return (
            f"merge: {self._folder} is the adapter of another base ({why}); it was trained on "
            f"{named or 'a base it does not name'}: set model.path to that one, or make train again"
        )

    def _fill(self, state: dict[str, Any], before: set[int]) -> None:
        """Give PEFT's layers the adapter's numbers; what they stand on stays on ``meta``."""
        import torch
        from peft import set_peft_model_state_dict

        for module in self._peft.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                if id(weight) not in before:
                    # NaN: what no file holds would be seen in the merged layer.
                    empty = torch.full(weight.shape, torch.nan)
                    setattr(module, name, torch.nn.Parameter(empty, requires_grad=False))
        set_peft_model_state_dict(self._peft, state)

    def changes(self, weight: str) -> bool:
        """Whether the adapter changes a weight, or brings one of its own."""
        return weight in self._whole or self._wrapped(weight)

    def _wrapped(self, weight: str) -> bool:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        module, leaf = self._module(weight)
        if isinstance(module, AuxiliaryTrainingWrapper):
            return True
        return isinstance(module, BaseTunerLayer) and leaf == "weight"

    def _module(self, weight: str) -> tuple[Any, str]:
        """The module that a weight is of, and its name there; of one that was trained whole that.

        PEFT's wrapper hands out what is inside of it, so it is looked for on the way.
        """
        from peft.utils.other import AuxiliaryTrainingWrapper

        module: Any = self._skeleton.net
        path = weight.split(".")
        for at, name in enumerate(path[:-1]):
            if isinstance(module, AuxiliaryTrainingWrapper):
                return module, ".".join(path[at:])
            module = getattr(module, name)
        return module, path[-1]

    def part(self, name: str) -> Any:
        """None: no tensor that is only a part of a weight is the adapter's."""
        return None

    def demand_apart(self, joined: dict[str, str], rounded: dict[str, bool]) -> None:
        """No weight that lies in several tensors is to change.

        Args:
            joined: such weights, and one of the tensors of each.
            rounded: weights that were in 4 bits.

        Raises:
            StageError: one is.
        """
        for weight, name in joined.items():
            if weight in rounded or self.changes(weight):
                raise StageError(
                    f"merge: {name} is a part of {weight}, which was trained: {experts.WHY}; train "
                    f"without: {experts.REMEDY}"
                )

    def merged(self, weight: str, base: Any) -> Any:
        """A weight with the adapter in it.

        Args:
            weight: one that :meth:`changes`.
            base: the base's own, fp32, as it was trained on.
        """
        import torch
        from peft.utils.other import ModulesToSaveWrapper

        base = self._whole.get(weight, base)
        if not self._wrapped(weight):
            return base
        module, leaf = self._module(weight)
        if isinstance(module, ModulesToSaveWrapper):
            return module.modules_to_save["default"].get_parameter(leaf)
        layer = getattr(module, "token_adapter", module)  # PEFT wraps one more for trained tokens
        below = layer.get_base_layer()
        meta, below.weight = below.weight, torch.nn.Parameter(base, requires_grad=False)
        try:
            with torch.no_grad():
                layer.merge(safe_merge=True)
                return below.weight.data
        except ValueError as error:
            raise StageError(
                f"merge: {weight}: {error}: the adapter holds numbers that are not finite"
            ) from None
        finally:
            below.weight = meta
            layer.merged_adapters = []


def _above(weight: str) -> list[str]:
    """The modules that a weight is in, the whole model's left out."""
    path = weight.split(".")
    return [".".join(path[:end]) for end in range(1, len(path))]


def read(folder: Path) -> dict[str, Any]:
    """An adapter's matrices by PEFT's names, fp32.

    Raises:
        UserError: its file is missing or cut off.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _once({name: one.float() for name, one in load_file(folder / FILE).items()})
    except (FileNotFoundError, SafetensorError) as error:
        raise UserError(
            f"merge: {folder / FILE} is missing, cut off or no file of safetensors ({error}): "
            "remove that folder and make train again, or copy the adapter anew"
        ) from None


def _once(state: dict[str, Any]) -> dict[str, Any]:
    """Without what PEFT saves again of embeddings that grew: the frozen ones, and a second copy."""
    copies = (".original_module.", ".modules_to_save.")
    return {
        name: tensor
        for name, tensor in state.items()
        if not any(part in name and name.replace(part, ".") in state for part in copies)
    }
