"""What both are asked, and what the merged model answers: as the worker's engines have it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.family_matrix import load
from tools.errors import StageError
from tools.export.onnx import merged as merged_
from tools.run.folder import Run


def test_lines_of_an_encoder_end_in_a_mask(merged: Callable[..., Run]) -> None:
    lines = merged_.lines_of(merged("bert"))
    assert lines.places is not None and len(lines.ids) == len(set(map(tuple, lines.ids))) > 2
    for line, place in zip(lines.ids, lines.places, strict=True):
        assert line[place:] == [4, 1] and line[0] == 2 and 4 not in line[:place]


def test_an_encoder_is_asked_at_its_masks(merged: Callable[..., Run]) -> None:
    run = merged("deberta-v2")
    folder, lines = run.output("merge"), merged_.lines_of(run)
    own, net = merged_.ask(folder, lines), load(folder)
    assert lines.places is not None and own.start == 0
    with torch.inference_mode():
        logits = net(input_ids=torch.tensor([lines.ids[1]])).logits[0, lines.places[1]]
    assert torch.equal(torch.from_numpy(own.logits[1]), logits)
    assert own.greedy[1] == [int(logits.argmax())] and len(own.gaps[1]) == 1
    assert own.parameters == sum(one.numel() for one in net.parameters())


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_decoder_answers_as_without_a_cache(family: str, merged: Callable[..., Run]) -> None:
    run = merged(family)
    folder, lines = run.output("merge"), merged_.lines_of(run)
    own, net = merged_.ask(folder, lines), load(folder)
    assert lines.places is None and own.start == net.config.decoder_start_token_id
    said = [own.start, *own.greedy[0][:-1]]
    with torch.inference_mode():
        logits = net(
            input_ids=torch.tensor([lines.ids[0]]), decoder_input_ids=torch.tensor([said])
        ).logits[0]
    assert len(said) == merged_.STEPS and logits.argmax(-1).tolist() == own.greedy[0]
    assert (torch.from_numpy(own.logits[0]) - logits[0]).abs().max() < 1e-5
    best = logits[3].topk(2).values
    assert own.gaps[0][3] == pytest.approx(
        float((best[0] - best[1]) / (best[0] - logits[3].mean())), abs=1e-4
    )


def test_no_held_out_row(merged: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = merged("t5")
    monkeypatch.setattr(merged_.tokens, "read", lambda path, count, context: [])
    with pytest.raises(StageError, match="no held-out row fits the model's window"):
        merged_.lines_of(run)


def test_the_start_of_an_answer_may_be_told_beside(tmp_path: Path) -> None:
    class Said:
        decoder_start_token_id = 7

    class Net:
        config, generation_config = object(), Said()

    assert merged_.start_of(Net()) == 7
