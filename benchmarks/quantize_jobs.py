"""What ``benchmarks.quantize`` does in processes of their own: ask a folder, cast it, load a GGUF.

``python -m benchmarks.quantize_jobs JOB request.json``; the last line printed is the answer, JSON.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from tools.data.tokens import Row
from tools.files import write_json
from tools.stages import divergence, gate

Request = dict[str, Any]


def reference(request: Request) -> dict[str, Any]:
    """What a folder says of the rows goes to ``reference``; its perplexity."""
    from tools.stages.loading import load

    net = load(Path(request["folder"]), request["device"])
    with Path(request["reference"]).open("wb") as file:
        told = divergence.record(net, _rows(request), file, "perplexity")
    write_json(_told(request), [dataclasses.asdict(one) for one in told])
    labels = sum(one.labels for one in told)
    return {"perplexity": divergence.perplexity(sum(one.loss for one in told), labels)}


def compare(request: Request) -> dict[str, Any]:
    """The gate's figures of a folder beside the reference."""
    from tools.stages.loading import load

    return _figures(load(Path(request["folder"]), request["device"]), request)


def gguf(request: Request) -> dict[str, Any]:
    """The same of a GGUF as transformers reads it, unpacked."""
    import torch
    from transformers import AutoModelForCausalLM

    file = Path(request["file"])
    net = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    return _figures(net.eval(), request)


def _figures(net: Any, request: Request) -> dict[str, Any]:
    told = [divergence.Told(**one) for one in json.loads(_told(request).read_text("utf-8"))]
    with Path(request["reference"]).open("rb") as file:
        apart = divergence.compare(net, _rows(request), told, file, "compared")
    return gate.figures(told, apart)


def _rows(request: Request) -> list[Row]:
    return [(ids, labels) for ids, labels in request["rows"]]


def _told(request: Request) -> Path:
    """Beside the file of log-probabilities: what else was said of each row."""
    return Path(request["reference"]).with_suffix(".json")


def cast(request: Request) -> dict[str, Any]:
    """A merged folder in another type of numbers, tensor by tensor."""
    import shutil

    import torch

    from tools.files import read_json
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
    from math import prod

    return dataclasses.replace(one, dtype=kind, size=prod(one.shape) * dtype.itemsize)


JOBS = {"reference": reference, "compare": compare, "gguf": gguf, "cast": cast}


def main() -> None:
    """Do what the request says."""
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    print(json.dumps(JOBS[sys.argv[1]](request)))


if __name__ == "__main__":
    main()
