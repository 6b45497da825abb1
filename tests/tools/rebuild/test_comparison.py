"""The verdict on a rebuilt run, and what is printed of it."""

import pytest

from tools.rebuild.comparison import Comparison, Difference, Figure, Row, differences

DATA = Row("data", "train.jsonl", "a", "a")
SAME = Row("train", "adapter_model.safetensors", "a" * 64, "a" * 64)
OTHER = Row("train", "adapter_model.safetensors", "a" * 64, "b" * 64)
NEAR, FAR = Figure("logits", "", 0.01, 0.1), Figure("logits", "", 0.2, 0.1)


@pytest.mark.parametrize(
    ("rows", "figures", "verdict"),
    [
        ([DATA, SAME], [], "identical"),
        ([DATA, SAME], [NEAR], "identical"),
        ([DATA, SAME], [FAR], "different"),
        ([DATA, OTHER], [NEAR], "equivalent"),
        ([DATA, OTHER], [FAR], "different"),
        ([DATA, OTHER], [NEAR, FAR], "different"),
        ([DATA, OTHER], [Figure("eval_loss", "", float("nan"), 0.1)], "different"),
        ([DATA, OTHER], [], "different"),
        ([SAME, Row("data", "train.jsonl", "a", "b")], [NEAR], "different"),
        ([DATA, SAME, Row("train", "tokenizer.json", "a", None)], [NEAR], "different"),
        ([DATA, SAME, Row("train", "more.json", None, "a")], [NEAR], "different"),
        ([DATA, SAME, Row("train", "README.md", "a", "b")], [], "identical"),
        ([DATA, SAME, Row("merge", "debug.log", "a", None)], [], "identical"),
    ],
)
def test_the_verdict(rows: list[Row], figures: list[Figure], verdict: str) -> None:
    found = Comparison("one", "other", [], rows, figures)
    assert found.verdict == verdict
    assert found.exit_code == (verdict == "different")
    assert found.render().splitlines()[-1] == f"verdict: {verdict}"
    assert found.as_json()["verdict"] == verdict


def test_what_is_printed() -> None:
    found = Comparison(
        "runs/cpu",
        "again",
        [Difference("version", "torch", "2.6.0", "2.7.0")],
        [DATA, OTHER, Row("train", "README.md", None, "b" * 64)],
        [FAR],
        ["eval_base: not made"],
    )
    assert found.render().splitlines() == [
        "reproduce: runs/cpu made again in again",
        "inputs that differ",
        "  version  torch  2.6.0 then, 2.7.0 now",
        "files",
        "  data   1 of 1 files the same",
        "  train  0 of 2 files the same",
        "         adapter_model.safetensors  aaaaaaaaaaaa then, bbbbbbbbbbbb now",
        "         README.md                  absent then, bbbbbbbbbbbb now "
        "(names a folder or the time: does not count)",
        "figures",
        "  logits    0.2, NOT within 0.1",
        "note: eval_base: not made",
        "verdict: different",
    ]


def test_inputs_that_are_the_same_are_said_to_be() -> None:
    assert "inputs: the same" in Comparison("one", "other").render()


def test_differences_name_keys_and_both_values() -> None:
    then = {"train": {"lora_r": 8, "targets": ["q", "k"]}, "seed": 1, "empty": []}
    now = {"train": {"lora_r": 16, "targets": ["q"]}, "seed": 1, "new": {"a": None}}
    assert differences("recipe", then, now) == [
        Difference("recipe", "train.lora_r", "8", "16"),
        Difference("recipe", "train.targets[1]", "k", "absent"),
        Difference("recipe", "new.a", "absent", "None"),
    ]
    assert differences("recipe", None, now) == []


def test_long_values_and_secrets_are_not_printed_whole() -> None:
    token = "hf_" + "x" * 30
    found = Comparison("a", "b", [Difference("recipe", "k", f"{token}", "word " * 40)]).render()
    assert token not in found and "<Hugging Face token> then" in found
    assert max(map(len, found.splitlines())) < 120
