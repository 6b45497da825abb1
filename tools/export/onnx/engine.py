"""Runs in ONNX Runtime's environment: reads exported files and answers what is asked of them.

``python engine.py request.json answer.json``. A request is ``{"folder", "lines", "places", "start",
"steps", "padding", "logits", "threads"}``: ``lines`` are the ids that are read; ``places`` where in
each of them the mask is, or null of an encoder with a decoder, whose answers begin at ``start``.
The answer has the likeliest ids of each line; the file ``logits`` gets float32 [lines, vocabulary],
those of the first of them.

Lines are put side by side and padded, the first alone: no axis may have kept the size that was
traced. Nothing of this project is imported: the environment has only ONNX Runtime and numpy.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

TOGETHER = 4  # lines of a batch
Array = Any


def batches(count: int) -> Iterator[range]:
    """Numbers of the lines that are asked together."""
    yield range(min(count, 1))
    for first in range(1, count, TOGETHER):
        yield range(first, min(first + TOGETHER, count))


def padded(lines: list[list[int]], padding: int) -> tuple[Array, Array]:
    """Lines as one matrix, and 1 where there is an id, else 0."""
    longest = max(map(len, lines))
    ids = np.full((len(lines), longest), padding, np.int64)
    mask = np.zeros_like(ids)
    for row, line in enumerate(lines):
        ids[row, : len(line)] = line
        mask[row, : len(line)] = 1
    return ids, mask


def session(file: Path, threads: int) -> ort.InferenceSession:
    """A file, loaded for the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class Masked:
    """An encoder that fills masks.

    Args:
        request: as above.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        folder = Path(request["folder"])
        self._net = session(folder / "model.onnx", request["threads"])
        self._places = request["places"]

    def answer(self, numbers: range, ids: Array, mask: Array) -> tuple[Array, Array]:
        """Of a few lines, the logits at their masks and the likeliest ids [lines, 1]."""
        given = {"input_ids": ids, "attention_mask": mask}
        (logits,) = self._net.run(["logits"], given)
        first = logits[np.arange(len(numbers)), [self._places[one] for one in numbers]]
        return first, first.argmax(-1)[:, None]


class Conditional:
    """An encoder with a decoder.

    Args:
        request: as above.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        folder, threads = Path(request["folder"]), request["threads"]
        self._encoder = session(folder / "encoder_model.onnx", threads)
        self._decoder = session(folder / "decoder_model.onnx", threads)
        self._start, self._steps = request["start"], request["steps"]

    def answer(self, numbers: range, ids: Array, mask: Array) -> tuple[Array, Array]:
        """Of a few lines, the logits of the first tokens and the likeliest ids [lines, steps]."""
        given = {"input_ids": ids, "attention_mask": mask}
        (states,) = self._encoder.run(["last_hidden_state"], given)
        read = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        said, first = np.full((len(numbers), 1), self._start, np.int64), None
        for _ in range(self._steps):
            (logits,) = self._decoder.run(["logits"], {"input_ids": said, **read})
            first = logits[:, -1] if first is None else first
            said = np.concatenate([said, logits[:, -1].argmax(-1)[:, None]], 1)
        return first, said[:, 1:]


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """What the files answer."""
    net = (Conditional if request["places"] is None else Masked)(request)
    lines, greedy = request["lines"], []
    with Path(request["logits"]).open("wb") as file:
        for numbers in batches(len(lines)):
            ids, mask = padded([lines[one] for one in numbers], request["padding"])
            first, told = net.answer(numbers, ids, mask)
            first.astype(np.float32).tofile(file)
            greedy += told.tolist()
    return {"greedy": greedy, "engine": f"onnxruntime {ort.__version__}"}


def main() -> None:
    """Answer what the command line names."""
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(ask(asked)), encoding="utf-8")


if __name__ == "__main__":
    main()
