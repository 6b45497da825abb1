"""A model that was trained whole: each of its weights, by transformers' names for them."""

from pathlib import Path
from typing import Any

from tools.errors import StageError
from tools.files import read_json
from tools.stages.merging import weights
from tools.stages.merging.skeleton import Skeleton


class Trained:
    """The weights that a full fine-tuning saved; they take the place of the base's.

    Transformers writes them by its own rules, so their names need not be those of the base's files,
    nor their types.

    Args:
        skeleton: of the base; it grows where tokens were added.
        folder: what training saved.

    Raises:
        UserError: its files are incomplete.
        StageError: it is another model's.
    """

    def __init__(self, skeleton: Skeleton, folder: Path) -> None:
        self._skeleton, self._folder = skeleton, folder
        self._tensors = weights.read(folder)
        self._grow()
        shapes = {one.name: one.shape for one in self._tensors.values()}
        named = skeleton.names(shapes, f"{folder}'s")
        self._places = {weight: name for name, weight in named.items()}
        for one, other in skeleton.tied().items():  # of tied weights the files hold one
            if place := self._places.get(one) or self._places.get(other):
                self._places.setdefault(one, place)
                self._places.setdefault(other, place)

    def _grow(self) -> None:
        """Have as many rows of embeddings as were trained."""
        config = read_json(self._folder / "config.json") or {}
        rows = config.get("vocab_size")
        if isinstance(rows, int) and rows != len(self._skeleton.net.get_input_embeddings().weight):
            self._skeleton.resize(rows)

    def changes(self, weight: str) -> bool:
        """Whether training wrote this weight: all but what transformers makes itself."""
        return weight in self._places

    def merged(self, weight: str, base: Any) -> Any:
        """The trained weight, fp32, whatever the base's was."""
        return self._read(self._places[weight]).float()

    def part(self, name: str) -> Any:
        """A tensor of the files that is no weight by itself, as one of several experts; or None.

        Args:
            name: in the base's files, which is what transformers writes, too.
        """
        if name not in self._tensors:
            return None
        return self._read(name).float()

    def demand_apart(self, joined: dict[str, str], rounded: dict[str, bool]) -> None:
        """Of weights that lie in several tensors each of these was saved.

        Raises:
            StageError: one was not.
        """
        for name in joined.values():
            if name not in self._tensors:
                raise StageError(
                    f"merge: {self._folder} holds no {name}, which the base has: transformers "
                    "writes these weights under other names; set model.path to a base that "
                    "transformers' save_pretrained has written"
                )

    def _read(self, name: str) -> Any:
        from safetensors import safe_open

        with safe_open(self._tensors[name].file, framework="pt") as file:
            return file.get_tensor(name)


def is_whole(folder: Path) -> bool:
    """Whether a folder of training's holds a model, and no adapter."""
    return not (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file()
