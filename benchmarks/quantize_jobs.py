"""What ``benchmarks.quantize`` does in processes of their own: judge a folder, try to load it.

``python -m benchmarks.quantize_jobs JOB request.json``; the last line printed is the answer, JSON.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import divergence
from tools.data.tokens import Row
from tools.stages import divergence as gate

Request = dict[str, Any]


def judge(request: Request) -> dict[str, Any]:
    """Perplexity of a folder, and its logits in ``logits``; beside ``reference``, where it is."""
    from tools.stages.loading import load

    rows = [(ids, labels) for ids, labels in request["rows"]]
    net = load(Path(request["folder"]), request["device"])
    found: dict[str, Any] = {"perplexity": _perplexity(net, rows)}
    divergence.write_logits(net, rows, Path(request["logits"]))
    return found | _beside(request)


def _perplexity(net: Any, rows: list[Row]) -> float:
    """As the gate of ``make quantize`` has it."""
    with Path(os.devnull).open("wb") as nowhere:
        told = gate.record(net, rows, nowhere, "perplexity")
    return gate.perplexity(sum(one.loss for one in told), sum(one.labels for one in told))


def gguf(request: Request) -> dict[str, Any]:
    """The same of a GGUF as transformers reads it, unpacked."""
    import torch
    from transformers import AutoModelForCausalLM

    file, rows = Path(request["file"]), [(ids, labels) for ids, labels in request["rows"]]
    net = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).eval()
    divergence.write_logits(net, rows, Path(request["logits"]))
    return _beside(request)


def cast(request: Request) -> dict[str, Any]:
    """A merged folder in another type of numbers, tensor by tensor."""
    import shutil

    import torch

    from tools.files import read_json, write_json
    from tools.stages.merging import weights

    source, target = Path(request["source"]), Path(request["folder"])
    kind, dtype = {"bf16": ("BF16", torch.bfloat16), "fp32": ("F32", torch.float32)}[
        request["format"]
    ]
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors*", "oneday.json"))
    write_json(
        target / "config.json",
        {**read_json(source / "config.json"), "dtype": str(dtype).removeprefix("torch.")},
    )
    tensors = weights.read(source)
    new = {name: _as(one, kind, dtype) for name, one in tensors.items()}

    def data(one: weights.Tensor) -> Any:
        from safetensors import safe_open

        with safe_open(one.file, framework="pt") as file:
            value = file.get_tensor(one.name).to(dtype).contiguous()
        return value.flatten().view(torch.uint8).numpy().data

    weights.write(target / weights.SINGLE, new.values(), data, {"format": "pt"})
    return {}


def _as(one: Any, kind: str, dtype: Any) -> Any:
    import dataclasses
    from math import prod

    return dataclasses.replace(one, dtype=kind, size=prod(one.shape) * dtype.itemsize)


def _beside(request: Request) -> dict[str, Any]:
    if not request.get("reference"):
        return {}
    kl, top1 = divergence.compare(Path(request["reference"]), Path(request["logits"]))
    return {"kl": kl, "top1": top1}


JOBS = {"judge": judge, "gguf": gguf, "cast": cast}


def main() -> None:
    """Do what the request says."""
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    print(json.dumps(JOBS[sys.argv[1]](request)))


if __name__ == "__main__":
    main()
