"""A file is held against the merged model: what counts as equal, as a tie, and as wrong."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from tools.errors import StageError
from tools.export import asking
from tools.export.merged import Merged, Reference
from tools.stages.divergence import Told

MERGED = Merged(
    perplexity=math.e,
    rows=[([1, 2, 3], [-100, 2, 3])],
    texts=[("a", False)],
    tokens=[[7]],
    prompts=[[1], [2]],
    greedy=[[5, 6], [7, 8]],
    gaps=[[1.0, 1.0], [1.0, 0.0001]],
    bos=1,
    eos=2,
    ends=[2],
    add_bos=True,
    chat_template="{{ messages }}",
)
TOLD: dict[str, Any] = {
    "bos": 1, "eos": 2, "ends": [0, 2], "add_bos": True, "add_eos": False,
    "chat_template": "{{ messages }}", "tokens": [[7]], "loss": 2.0, "labels": 2,
    "greedy": [[5, 6], [7, 8]], "engine": "llama", "parameters": 1000,
}  # fmt: skip


def faults(kind: str = "F32", merged: Merged = MERGED, **told: Any) -> list[str]:
    return asking.faults(kind, merged, TOLD | told, 1.1)


def test_a_file_that_is_the_model() -> None:
    assert faults() == []
    found = asking.held("F32", MERGED, TOLD, 1.1)
    assert found["perplexity_ratio"] == pytest.approx(1) and found["bos"] == 1
    assert found["greedy"] == {"prompts": 2, "equal": 2, "ties": 0, "ids": 4, "same": 4}


def test_where_the_two_best_are_as_good_as_equal_rounding_chooses() -> None:
    told = [[5, 6], [7, 9]]
    assert faults(greedy=told) == []
    seen = asking.greedy(MERGED, told, asking.TIE["F32"])
    assert dataclasses.asdict(seen) == {"prompts": 2, "equal": 1, "ties": 1, "ids": 4, "same": 3}


def test_another_token_where_one_is_clearly_best() -> None:
    assert faults(greedy=[[5, 9], [7, 8]]) == [
        "greedy text of 1 of 2 prompts is not the merged one's"
    ]
    assert faults("Q4_K_M", greedy=[[5, 9], [7, 8]]) == []  # only its perplexity counts


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"eos": 1}, "eos is 1, the merged model's 2"),
        ({"bos": 11}, "bos is 11, the merged model's 1"),
        ({"add_bos": False}, "add_bos is False, the merged model's True"),
        ({"chat_template": ""}, "chat_template is '', the merged model's '{{ messages }}'"),
        ({"ends": [0]}, "llama.cpp does not end an answer at [2]"),
        ({"tokens": [[8]]}, "llama.cpp reads 1 of 1 held-out texts as other tokens"),
        ({"loss": 2.4}, "perplexity is 1.2214 times the merged model's, more than"),
        ({"loss": math.nan}, "perplexity is nan times"),
    ],
)
def test_each_thing_that_is_wrong(told: dict[str, Any], said: str) -> None:
    (fault,) = faults(**told)
    assert fault.startswith(said)
    with pytest.raises(StageError, match="the F32 file is not the merged model: "):
        asking.held("F32", MERGED, TOLD | told, 1.1)


def test_a_model_without_bos_takes_any() -> None:
    """llama.cpp names token 11 where a file names none; no prompt gets it."""
    merged = dataclasses.replace(MERGED, bos=None, add_bos=False)
    assert faults(merged=merged, bos=11, add_bos=False) == []


def test_prompts_end_before_an_answer() -> None:
    two = ([1, 2, 3, 4, 5], [-100, -100, 3, -100, 5])
    rows = [two, ([1, 2, 4], [-100, -100, 4]), ([6, 7], [-100, 7]), ([8, 9], [-100, -100])]
    assert asking.prompts_of(rows) == [[1, 2], [6], [1, 2, 3, 4]]
    assert asking.prompts_of(rows, 2) == [[1, 2], [6]]


def test_the_table() -> None:
    found = asking.held("F32", MERGED, TOLD | {"greedy": [[5, 6], [7, 9]]}, 1.1)
    lines = asking.table([found | {"mb": 0.004, "merged_mb": 0.004}]).splitlines()
    heads = ["type", "MB", "bits", "perplexity", "ratio", "KL", "top-1", "greedy", "text"]
    assert lines[0].split() == heads
    assert lines[1].split() == ["merged", "0.0", "2.7183"]
    assert lines[2].split()[:7] == ["F32", "0.0", "32.00", "2.7183", "1.0000", "-", "-"]
    assert lines[2].endswith("1 of 2 prompts equal, 1 part at a tie")


def test_kl_and_top1_where_both_have_the_same_words() -> None:
    reference = Reference(Path("logits.f16"), 10, [Told(2.0, 2, [4, 5])])
    own = dataclasses.replace(MERGED, reference=reference)
    asked = asking.request(Path("a.gguf"), own, 1)["first"]
    assert asked == {"file": "logits.f16", "vocabulary": 10, "places": [[0, 1]], "best": [[4, 5]]}
    found = asking.held("F32", own, TOLD | {"apart": [[2.0, 0.5, 1, 2]]}, 1.1)
    assert found["kl"] == 0.25 and found["top1"] == 0.5 and found["compared_tokens"] == 2
    row = asking.table([found | {"mb": 0.004, "merged_mb": 0.004}]).splitlines()[2].split()
    assert row[5:7] == ["0.2500", "0.5000"]
    assert "kl" not in asking.held("F32", own, TOLD | {"apart": []}, 1.1)
    assert asking.request(Path("a.gguf"), MERGED, 1)["first"] is None
