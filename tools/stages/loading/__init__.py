"""Models as the proofs load them: a tensor read when it is wanted, packed layers left packed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from tools.base_model.architecture import of_folder
from tools.stages.four_bits import packed
from tools.stages.loading.mapped import Mapped

SMALL = 1e9  # bytes: what is unpacked into less is unpacked once, which is faster


def load(folder: Path, device: str) -> Any:
    """A model as it is measured: unpacked (same numbers) where nothing computes with it as it is.

    What llm-compressor made rounds activations as its file says, as vLLM does; our own worker
    computes them whole.
    """
    from serve.engine import unpacking

    auto = of_folder(folder).loader()
    with unpacking.without_bars():
        net = auto.from_pretrained(folder, dtype="auto", device_map=device).eval()
        if unpacking.method_of(net) == "compressed-tensors":
            net.hf_quantizer.compressor.decompress_model(net)
            return net
    return unpacked(net) if device == "cpu" and packed(net) else passing(net, folder)


def load_in_8_bits(folder: Path) -> Any:
    """A model as the worker computes with it on a CPU where ``serve.dtype`` is int8."""
    import torch

    from serve.engine import unpacking
    from serve.engine.eightbit import to_eight_bits

    auto = of_folder(folder).loader()
    with unpacking.without_bars(), unmapped():
        net = auto.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
        net = unpacking.unpack(net).float().eval()
    to_eight_bits(net)
    return net


@contextlib.contextmanager
def unmapped() -> Iterator[None]:
    """Let transformers read a file's tensors one by one, and keep none that it makes another of.

    It maps whole files into memory: what was read once stays there till the end, the whole model
    beside the quantized one.
    """
    from safetensors import safe_open
    from transformers import modeling_utils

    def open_file(*args: Any, **options: Any) -> Any:
        return safe_open(*args, **{**options, "backend": "pread"})

    with mock.patch.object(modeling_utils, "safe_open", open_file):
        yield


def widened(folder: Path, dtype: Any, device: str) -> Any:
    """A model of whole weights that computes in ``dtype``, be its files narrower.

    A large one keeps its matrices as the file has them, mapped; each is widened when its layer
    computes.
    """
    from tools.stages.loading import unpacking

    auto = of_folder(folder).loader()
    whole = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if device != "cpu" or whole < SMALL:
        with unmapped():
            return auto.from_pretrained(folder, device_map=device, dtype=dtype)
    net = auto.from_pretrained(folder, device_map=device, dtype="auto")
    return passing(net if net.dtype == dtype else unpacking.cast_by_layer(net, dtype), folder)


def passing(net: Any, folder: Path) -> Any:
    """A model whose files' pages leave its memory when the layer that they are of has computed.

    They stay in the kernel's cache of files, from where the next pass takes them without the disk.

    Args:
        net: of whole weights, computed with and not written to.
        folder: whose files it was loaded of; those that were not mapped have no pages to leave.
    """
    mapped = Mapped.of(folder)

    def leave(module: Any, inputs: Any, output: Any) -> None:
        for one in module.parameters(recurse=False):
            mapped.leave(one.data_ptr(), one.nbytes)

    if mapped:
        for module in net.modules():
            module.register_forward_hook(leave)
    return net


def unpacked(net: Any) -> Any:
    """A model whose layers of bitsandbytes compute with their weights as those were unpacked.

    Its 4-bit kernels round on the way, the worker's do not. Large models keep the packed weights,
    each is unpacked when its layer computes.

    Args:
        net: a model that bitsandbytes has packed, on any device.
    """
    from tools.stages.loading import unpacking

    if unpacking.whole_size(net) < SMALL:
        return net.dequantize()
    return unpacking.by_layer(net)
