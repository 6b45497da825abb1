"""Each kind of models asked of an answer: the same tokens, the same logits, whoever puts them."""

from pathlib import Path

import pytest
import torch

from tests import kin
from tests.family_matrix import load
from tools.data.tokens import codec_of
from tools.errors import UserError
from tools.stages.asking import CAUSAL, Masked, asking


def test_a_decoder_is_asked_what_transformers_trains(tmp_path: Path) -> None:
    base = kin.folder("bart", tmp_path / "base")
    net, prompt, answer = load(base), [2, 7, 8, 9, 1], [11, 12, 1]
    ask = asking(base)
    logits = ask.logits(net, (prompt, answer))
    theirs = net(input_ids=torch.tensor([prompt]), labels=torch.tensor([answer]))
    mine = torch.nn.functional.cross_entropy(logits, torch.tensor(answer))
    assert logits.shape == (3, len(net.get_input_embeddings().weight))
    assert float(mine) == pytest.approx(float(theirs.loss), abs=1e-6)
    # What the tokenizer puts behind a prompt is there once, whether the row has it or not.
    assert torch.equal(logits, ask.logits(net, (prompt[:-1], answer)))


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])
def test_masks_are_asked_one_after_the_other(family: str, tmp_path: Path) -> None:
    """In passes together as alone: each place sees what stands before it, and the end."""
    base = kin.folder(family, tmp_path / "base")
    net, codec = load(base), codec_of(base)
    prompt, answer = [2, 7, 8, 9], [*range(10, 21), 1]
    found = asking(base).logits(net, (prompt, answer))
    assert len(found) == 12 and codec.mask_id == 4 and codec.trail == (1,)
    for at in (0, 5, 11):
        ids = torch.tensor([[*prompt, *answer[:at], 4, 1]])
        with torch.inference_mode():
            alone = net(input_ids=ids).logits[0, -2]
        assert (alone - found[at]).abs().max() < 1e-5


def test_a_causal_model_is_told_from_the_place_before() -> None:
    row = ([5, 6, 7, 8], [-100, -100, 7, 8])
    assert CAUSAL.wanted(row) == [7, 8]


def test_an_encoder_without_a_mask(tmp_path: Path) -> None:
    base = kin.folder("t5", tmp_path / "base")
    codec = codec_of(base)
    codec.mask_id = None
    with pytest.raises(UserError, match="no token for a mask"):
        Masked(codec)
