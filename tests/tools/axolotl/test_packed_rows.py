"""Rows of the data stage in a pack, as Axolotl collates them: the loss of each is as if alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.tiny import jsonl, make_run
from tools.axolotl.packed_attention import install
from tools.data import tokens
from tools.data.prepare import prepare
from tools.recipe.schema import Source

CHAT = [("user", "Hello"), ("assistant", "Hi"), ("user", "Bye"), ("assistant", "See you")]
ROWS: dict[str, list[dict[str, Any]]] = {
    "pairs": [{"prompt": f"Who is {name}?", "completion": f" {name}'s son"} for name in "ABCDE"],
    "messages": [
        {"messages": [{"role": role, "content": f"{said} {name}"} for role, said in CHAT]}
        for name in "ABCDE"
    ],
    "text": [{"text": f"All of {name} is learnt."} for name in "ABCDE"],
}


@pytest.fixture
def attention() -> Iterator[None]:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]
    install()
    yield
    ALL_ATTENTION_FUNCTIONS.register("sdpa", before[0])
    ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", before[1])


def encoded(folder: Path, model: Path) -> list[dict[str, Any]]:
    """A source of each shape through the data stage, as the trainer reads its rows."""
    sources: dict[str, Source] = {}
    for shape, rows in ROWS.items():
        path = folder / f"{shape}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[shape] = jsonl(path, shape=shape)
    run = make_run(
        folder / "runs", data__sources=sources, data__validation_rows=2, data__test_rows=0,
        data__held_out_share=0.5, data__shots=1,
    )  # fmt: skip
    prepare(run)
    lines = tokens.files(run, model)["train"].read_text().splitlines()
    return [json.loads(line) for line in lines]


def losses(net: Any, row: Any) -> torch.Tensor:
    """Of each learnt token, in order."""
    ids, labels, places = (torch.as_tensor(row[key])[None] if torch.as_tensor(row[key]).dim() == 1
                           else torch.as_tensor(row[key])
                           for key in ("input_ids", "labels", "position_ids"))  # fmt: skip
    with torch.no_grad():
        scores = net(input_ids=ids, position_ids=places, use_cache=False).logits
    each = torch.nn.functional.cross_entropy(
        scores[0, :-1].float(), labels[0, 1:], reduction="none"
    )
    return each[labels[0, 1:] != tokens.IGNORED]


def test_the_loss_in_a_pack_is_the_loss_alone(
    tmp_path: Path, tiny_model: Path, attention: None
) -> None:
    from axolotl.utils.collators.batching import V2BatchSamplerDataCollatorForSeq2Seq
    from axolotl.utils.trainer import add_position_ids
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [add_position_ids(row) for row in encoded(tmp_path, tiny_model)]
    assert len(rows) >= 9
    net = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa").eval()
    alone = torch.cat([losses(net, row) for row in rows])
    collate = V2BatchSamplerDataCollatorForSeq2Seq(
        AutoTokenizer.from_pretrained(tiny_model), padding=True, pad_to_multiple_of=64
    )
    pack = collate([rows])
    assert pack["input_ids"].shape[0] == 1  # all of them in one
    together = losses(net, pack)
    assert together.shape == alone.shape  # no first token of a row is learnt from the row before
    assert torch.allclose(together, alone, atol=1e-4)
    # Without positions of their own the rows see one another: the comparison tells.
    mixed = {**pack, "position_ids": torch.arange(pack["input_ids"].shape[1])[None]}
    assert not torch.allclose(losses(net, mixed), alone, atol=1e-2)
