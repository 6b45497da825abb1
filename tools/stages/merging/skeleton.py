"""A model without its weights: names of its tensors, which are one, which train in 4 bits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.errors import StageError, UserError
from tools.recipe.kinds import kind_of


class Skeleton:
    """A model on torch's ``meta`` device, as transformers builds it for a folder's kind.

    Transformers renames while it loads (GPT-NeoX's ``embed_out`` is its ``lm_head``; GPT-2's and
    Bloom's files leave ``transformer.`` out), so which tensor of a file is which weight is asked
    of transformers itself.

    Args:
        base: the model's folder.

    Raises:
        UserError: transformers has no model of its kind.

    Attributes:
        net: the model.
        config: transformers' own of it.
        joined: weights that several tensors of the files become, as experts do, and one of those.
    """

    def __init__(self, base: Path) -> None:
        import torch
        from transformers import AutoConfig
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter
        from transformers.models.auto import modeling_auto

        self.config = AutoConfig.from_pretrained(base)
        kind = kind_of(self.config.model_type)
        # Asked first: transformers' own refusal imports every model that there is to list them.
        if self.config.model_type not in getattr(modeling_auto, kind.table):
            raise UserError(
                f"merge: {base} is a {self.config.model_type}, which transformers has as no causal "
                "model, and which is of no other kind that trains here; docs/recipes.md lists "
                "layers of models that do"
            )
        self._auto = kind.loader()
        with torch.device("meta"):
            self.net: Any = self._auto.from_config(self.config, dtype=torch.float32)
        self.joined: dict[str, str] = {}
        rules = get_model_conversion_mapping(self.net)
        self._fused = [rule for rule in rules if isinstance(rule, WeightConverter)]
        self._renamed = [rule for rule in rules if not isinstance(rule, WeightConverter)]
        # Before an adapter takes layers' places: those are called otherwise.
        self._weights = dict(self.net.state_dict(keep_vars=True))

    @property
    def weights(self) -> dict[str, Any]:
        """The model's own weights by transformers' names, on ``meta``; tied ones several times."""
        return self._weights

    def names(
        self, files: Mapping[str, tuple[int, ...]], whose: str = "the base's"
    ) -> dict[str, str]:
        """The weight that each of a file's tensors is; what transformers leaves out has none.

        Args:
            files: the shape of each tensor, by its name there.
            whose: files they are, as a fault says it.

        Raises:
            StageError: weights have no tensor or another shape.
        """
        from transformers.core_model_loading import rename_source_key

        found: dict[str, str] = {}
        for name, shape in files.items():
            weight, fused = rename_source_key(
                name, self._renamed, self._fused, self.net.base_model_prefix, self._weights
            )
            if fused:
                self.joined[weight] = name
            elif (own := self._weights.get(weight)) is not None:
                if tuple(own.shape) != shape:
                    raise StageError(
                        f"merge: {whose} {name} is {list(shape)}, by its config.json it would "
                        f"be {list(own.shape)}: the one is another model's"
                    )
                found[name] = weight
        self._demand_all({*found.values(), *self.joined} & set(self._weights), whose)
        return found

    def _demand_all(self, found: set[str], whose: str) -> None:
        kept = {name for name, _ in self.net.named_parameters(remove_duplicate=False)}
        there = {id(self._weights[name]) for name in found}  # one of those that are tied is enough
        lost = [name for name in kept if id(self._weights[name]) not in there]
        if lost:
            raise StageError(
                f"merge: {whose} files hold no {min(lost)} ({len(lost)} weights are missing): "
                "its config.json is another model's; take a folder that save_pretrained wrote"
            )

    def tied(self) -> dict[str, str]:
        """Weights that are another one, by name; the head is the embedding."""
        return dict(self.net.all_tied_weights_keys)

    def resize(self, rows: int) -> None:
        """Have as many rows of embeddings as were trained."""
        import torch

        with torch.device("meta"):
            self.net.resize_token_embeddings(rows, mean_resizing=False)
        self._weights = dict(self.net.state_dict(keep_vars=True))

    def in_four_bits(self, how: Any) -> dict[str, bool]:
        """The weights that bitsandbytes puts into 4 bits, and whether each lies there transposed.

        Args:
            how: transformers' ``BitsAndBytesConfig``.
        """
        import bitsandbytes as bnb
        import torch
        from transformers.pytorch_utils import Conv1D
        from transformers.quantizers import AutoHfQuantizer

        with torch.device("meta"):
            net = self._auto.from_config(self.config)
        AutoHfQuantizer.from_config(how).preprocess_model(net, device_map=None)
        return {
            f"{name}.weight": issubclass(module.source_cls, Conv1D)
            for name, module in net.named_modules()
            if isinstance(module, bnb.nn.Linear4bit)
        }
