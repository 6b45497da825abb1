"""Base and adapter as one folder: every tensor of the base under its own name, shape and type.

Ours and not Axolotl 0.21.0's: its shard-wise merge knows layers by the names of files, so it merges
nothing where transformers renames while loading (GPT-2, Bloom), and stops at GPT-2's transposed
layers (findings/axolotl-0.21-merges-other-families-wrong.sh); it holds a file and its merged copy,
its other one the model whole. Here transformers says which tensor is which weight and which ones
bitsandbytes replaces, PEFT merges each layer by itself (LoRA, rsLoRA, DoRA, on Conv1D, too), and
all that neither the adapter nor 4 bits touch is copied byte by byte. One tensor at a time is in
memory, beside the adapter.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.errors import StageError, UserError
from tools.files import file_digest, read_json, write_json
from tools.stages.merging import weights
from tools.stages.merging.adapter import FILE, Adapter
from tools.stages.merging.rounding import Rounding
from tools.stages.merging.skeleton import Skeleton
from tools.stages.merging.trained import Trained, is_whole
from tools.stages.merging.weights import INDEX, Tensor

# Weights in another form, which would be served unmerged.
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
              "*.model")  # fmt: skip


def merge_folders(
    base: Path,
    adapter: Path,
    folder: Path,
    rounding: Rounding | None,
    parts: Sequence[Path] = (),
) -> None:
    """Write the merged model.

    Args:
        base: folder of the model that was trained on, its weights as safetensors.
        adapter: PEFT's folder, or that of a model that was trained whole.
        folder: an empty one that is there.
        rounding: how the base was put into 4 bits; None where the adapter belongs on it as it is.
        parts: folders of the adapters that ``adapter`` was made of; itself where there are none.

    Raises:
        UserError: the base is incomplete, quantized or holds the adapter already, or the adapter
            is another base's.
        StageError: they cannot be merged tensor by tensor.
    """
    if wrong := weights.faults(base):
        raise UserError(wrong)
    merging = _Merging(base, adapter, rounding, parts or [adapter])
    merging.copy_others(folder)
    merging.write(folder)


class _Merging:
    def __init__(
        self, base: Path, adapter: Path, rounding: Rounding | None, parts: Sequence[Path]
    ) -> None:
        self._base, self._from = base, adapter
        self._tensors = weights.read(base)
        whole = is_whole(adapter)
        # Weights that take the base's place may do so twice.
        self._about = self._once({} if whole else {one: _digest(one) for one in parts})
        skeleton = Skeleton(base)
        self._names = skeleton.names({one.name: one.shape for one in self._tensors.values()})
        self._rounded = skeleton.in_four_bits(rounding.how) if rounding else {}
        self._rounding = rounding
        self._rows = len(skeleton.net.get_input_embeddings().weight)
        self._adapter: Adapter | Trained = (Trained if whole else Adapter)(skeleton, adapter)
        self._skeleton = skeleton
        self._adapter.demand_apart(skeleton.joined, self._rounded)
        self._grown = len(skeleton.net.get_input_embeddings().weight)
        self._parted = False  # whether tied weights are two from now on
        self._untied = self._part_tied()
        self._demand_rows()

    def _once(self, digests: dict[Path, str]) -> dict[str, dict[str, str]]:
        """Metadata of each file, with the adapters' digests; refused where one is there already."""
        about = {}
        for path in {tensor.file for tensor in self._tensors.values()}:
            told = weights.metadata(path)
            before = told.get(weights.ADAPTERS, "").split()
            for folder, digest in digests.items():
                if digest in before:
                    raise UserError(
                        f"merge: {self._base} holds the adapter {folder} already: merging it again "
                        "would add it twice; set model.path to the base that it was trained on"
                    )
            told = {"format": "pt", **told}
            if digests:
                told[weights.ADAPTERS] = " ".join([*before, *digests.values()])
            about[path.name] = told
        return about

    def _part_tied(self) -> dict[str, Tensor]:
        """Weights of tied pairs that the adapter makes differ, with a place in the files each."""
        import torch

        found: dict[str, Tensor] = {}
        files = set(self._names.values())
        for one, other in self._skeleton.tied().items():
            if not (self._adapter.changes(one) or self._adapter.changes(other)):
                continue
            # T5 v1.1's files hold two that transformers calls tied: each its own.
            values = [self._value(weight, self._source(weight)) for weight in (one, other)]
            if torch.equal(*values):
                continue
            self._parted = True
            for weight in {one, other} - files:
                old = self._tensors[self._source(weight)]
                new = old.resized(old.shape)
                found[weight] = Tensor(weight, new.file, new.dtype, new.shape, 0, new.size)
        return found

    def _value(self, weight: str, name: str) -> Any:
        """A weight of the merged model, fp32; ``name`` is the tensor of the base that it is."""
        from safetensors import safe_open

        with safe_open(self._tensors[name].file, framework="pt") as file:
            base = file.get_tensor(name)
        if weight in self._rounded and self._rounding:
            base = self._rounding.as_trained(base, transposed=self._rounded[weight])
        base = base.float()
        return self._adapter.merged(weight, base) if self._adapter.changes(weight) else base

    def _demand_rows(self) -> None:
        """No token's id is beyond the embeddings."""
        tokenizer = self._tokenizer()
        if tokenizer and (most := _largest_id(tokenizer)) >= self._grown:
            raise StageError(
                f"merge: {tokenizer} has token {most}, the merged embeddings have {self._grown} "
                "rows: its vocabulary is another one; add tokens with train.tokens and train "
                "their rows (train.lora_modules_to_save)"
            )

    def _tokenizer(self) -> Path | None:
        """The folder whose tokenizer goes with the merged model: the base's, unless it grew."""
        places = [self._base] if self._grown == self._rows else [self._from, self._base]
        return next((place for place in places if (place / "tokenizer.json").is_file()), None)

    def copy_others(self, folder: Path) -> None:
        """Configuration and tokenizer, and what else lies there; no weights in another form."""
        for path in self._base.iterdir():
            if path.is_file() and path.suffix not in _WEIGHTS and path.name[-11:] != ".index.json":
                shutil.copy(path, folder)
        if self._grown != self._rows:
            for pattern in _TOKENIZER:
                for path in self._from.glob(pattern):
                    shutil.copy(path, folder)
        config = read_json(folder / "config.json")
        if self._grown != self._rows:
            config["vocab_size"] = self._grown
        # Where more than the head is tied, that would part all of it; transformers parts what
        # differs in the files, whatever is said here.
        if self._parted and len(self._skeleton.tied()) == 1:
            config["tie_word_embeddings"] = False
        if self._parted or self._grown != self._rows:
            write_json(folder / "config.json", config)

    def write(self, folder: Path) -> None:
        """The weights, a file of the base's at a time."""
        places: dict[str, str] = {}
        size = 0
        for path in dict.fromkeys(tensor.file for tensor in self._tensors.values()):
            new = list(self._file(path))
            weights.write(folder / path.name, new, self._data, self._about[path.name])
            places |= {one.name: path.name for one in new}
            size += sum(one.size for one in new)
        if (self._base / INDEX).is_file() and not (self._base / weights.SINGLE).is_file():
            index = {"metadata": {"total_size": size}, "weight_map": places}
            write_json(folder / INDEX, index)

    def _file(self, path: Path) -> Iterator[Tensor]:
        """What the merged file holds: as the base's does, and weights that are no longer tied."""
        for one in [*self._tensors.values(), *self._untied.values()]:
            if one.file == path:
                weight = self._names.get(one.name, one.name)
                new = self._skeleton.weights.get(weight)
                yield one if new is None else one.resized(new.shape)

    def _data(self, tensor: Tensor) -> Any:
        """A tensor's new bytes, None where it is copied."""
        weight = self._names.get(tensor.name, tensor.name)
        if weight not in self._skeleton.weights:
            part = self._adapter.part(tensor.name)
            return None if part is None else _bytes(_same_shape(part, tensor), tensor.dtype)
        changed = weight in self._rounded or weight in self._untied
        if not (changed or self._adapter.changes(weight)):
            return None
        return _bytes(self._value(weight, self._source(weight)), tensor.dtype)

    def _source(self, weight: str) -> str:
        """The tensor of the base that a weight is; of tied ones one that its files hold."""
        files = {one: name for name, one in self._names.items()}
        if weight in files:
            return files[weight]
        own = self._skeleton.weights[weight]
        return next(files[one] for one in files if self._skeleton.weights[one] is own)


def _bytes(value: Any, dtype: str) -> Any:
    """A tensor in a file's type, as a buffer."""
    import torch

    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
             "BF16": torch.bfloat16}  # fmt: skip
    flat = value.detach().to(types[dtype]).contiguous().flatten()
    return flat.view(torch.uint8).numpy().data


def _same_shape(part: Any, tensor: Tensor) -> Any:
    if tuple(part.shape) != tensor.shape:
        raise StageError(
            f"merge: the trained {tensor.name} is {list(part.shape)}, the base's is "
            f"{list(tensor.shape)}: set model.path to the base that was trained"
        )
    return part


def _digest(adapter: Path) -> str:
    if not (adapter / FILE).is_file():
        raise UserError(f"merge: {adapter} holds no {FILE}: it is no folder of an adapter")
    return file_digest(adapter / FILE)


def _largest_id(folder: Path) -> int:
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
    return max(ids.values(), default=-1)
