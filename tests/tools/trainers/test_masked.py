"""Encoders as answerers: what is asked at a mask, and the loss there."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import kin
from tools.trainers.answering import read
from tools.trainers.masked import END, Gather, Places, at_place, every_place

IDS: dict[str, Any] = {"mask": 4, "trail": [1], "pad": 0}
ROW = {"prompt_ids": [2, 10, 11], "answer_ids": [12, 13, 1]}


def test_a_place_is_asked_behind_all_before_it() -> None:
    assert at_place(ROW, 0, IDS) == {"input_ids": [2, 10, 11, 4, 1], "where": 3, "labels": 12}
    assert at_place(ROW, 1, IDS) == {"input_ids": [2, 10, 11, 12, 4, 1], "where": 4, "labels": 13}
    last = at_place(ROW, 2, IDS)
    assert last == {"input_ids": [2, 10, 11, 12, 13, 4, 1], "where": 5, "labels": 1}


def test_an_evaluation_looks_at_every_place(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt_ids": [2], "answer_ids": [7, 1]}\n' * 2)
    assert [one["labels"] for one in every_place(str(file), IDS)] == [7, 1, 7, 1]


def test_a_place_is_decided_by_row_epoch_and_seed_alone() -> None:
    first, again = (Places([ROW] * 200, IDS, 5) for _ in range(2))
    drawn = [one["where"] for one in first]
    assert drawn == [again[index]["where"] for index in reversed(range(200))][::-1]
    first.epoch = 1
    assert [one["where"] for one in first] != drawn
    assert [one["where"] for one in Places([ROW] * 200, IDS, 6)] != drawn


def test_the_end_is_drawn_seldom_and_each_other_place_alike() -> None:
    counts = Counter(one["where"] - 3 for one in Places([ROW] * 3000, IDS, 0))
    assert counts[2] / 3000 == pytest.approx(END, abs=0.03)
    assert counts[0] / 3000 == pytest.approx((1 - END) / 2, abs=0.05)
    assert counts[1] / 3000 == pytest.approx((1 - END) / 2, abs=0.05)
    empty = Places([{"prompt_ids": [2], "answer_ids": [1]}] * 50, IDS, 0)
    assert {one["labels"] for one in empty} == {1}


@pytest.mark.parametrize("family", kin.ENCODERS)
def test_the_head_sees_the_masks_alone_and_says_the_same(family: str) -> None:
    network = kin.network(family, 320)
    lists = [at_place(ROW, place, IDS) for place in (0, 2)]
    batch: dict[str, Any] = read([one["input_ids"] for one in lists], IDS["pad"])
    where = torch.tensor([one["where"] for one in lists])
    with torch.no_grad():
        wanted = network(**batch).logits[torch.arange(2), where]
        gather = Gather(network.base_model)
        gather.where = where
        found = network(**batch).logits
    assert found.shape == (2, 1, 320)
    assert torch.allclose(found[:, 0], wanted, atol=1e-5)
