"""Runs beside onnxscript: a merged folder becomes the ONNX files that optimum would look for.

``python writing.py request.json`` with onnx and onnxscript on PYTHONPATH, by the main environment's
Python. A request is ``{"model", "folder", "auto_class"}``. An encoder that fills masks is
``model.onnx``; an encoder with a decoder is ``encoder_model.onnx`` and ``decoder_model.onnx``,
whose decoder reads the whole answer so far at every token. Nothing of this project is imported.
"""

import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter
from transformers.modeling_outputs import BaseModelOutput

#: Of the example that is traced: other than 0 and 1, which torch takes for fixed, and each another.
ROWS, READ, SAID = 2, 7, 5
#: What the axes are called.
LENGTHS = {READ: "sequence_length", SAID: "decoder_sequence_length"}


class Decoder(torch.nn.Module):
    """What comes next in an answer, by an encoder's states and the answer so far.

    Args:
        net: an encoder with a decoder.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.config = net, net.config

    def forward(
        self,
        input_ids: torch.Tensor,
        encoder_attention_mask: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Logits at every place of the answer."""
        said = self.net(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoder_hidden_states),
            attention_mask=encoder_attention_mask,
            decoder_input_ids=input_ids,
            use_cache=False,
        )
        return {"logits": said.logits}


def parts(net: Any) -> Iterator[tuple[str, torch.nn.Module, dict[str, torch.Tensor]]]:
    """The files of a model, what computes each, and an example of what that is given."""
    mask = torch.ones(ROWS, READ, dtype=torch.long)
    read = {"input_ids": torch.full((ROWS, READ), 5), "attention_mask": mask}
    if not net.config.is_encoder_decoder:
        yield "model.onnx", net, read
        return
    yield "encoder_model.onnx", net.get_encoder(), read
    yield (
        "decoder_model.onnx",
        Decoder(net),
        {
            "input_ids": torch.full((ROWS, SAID), 5),
            "encoder_attention_mask": mask,
            "encoder_hidden_states": torch.zeros(ROWS, READ, net.config.hidden_size),
        },
    )


def write(file: Path, module: torch.nn.Module, example: dict[str, torch.Tensor]) -> None:
    """One file, without the lines of this machine's torch that each node was traced from."""
    free = {name: dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for name in example}
    program = OnnxExporter().export(module, example, OnnxConfig(dynamic_shapes=free))
    ClearMetadataAndDocStringPass()(program.model)
    lengths = {name: LENGTHS[one.shape[1]] for name, one in example.items()}
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        value.shape[0], value.shape[1] = "batch_size", lengths.get(value.name, lengths["input_ids"])
    program.save(file)


def main() -> None:
    """Write what the request names."""
    import transformers

    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    loader = getattr(transformers, request["auto_class"])
    net = loader.from_pretrained(request["model"], dtype=torch.float32).eval()
    for name, module, example in parts(net):
        write(Path(request["folder"]) / name, module, example)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # its last line is what the user is told
        traceback.print_exc()
        said = next(iter(str(error).strip().splitlines()), "")
        raise SystemExit(f"{type(error).__name__}: {said}") from None
