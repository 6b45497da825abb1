"""Training rows are, token by token, what the worker will see; only answers and EOS are learnt."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

from serve.text import TextCodec
from tests.serve.conftest import byte_level_tokenizer
from tests.tiny import make_run
from tools.data import tokens
from tools.data.prepare import prepare
from tools.data.render import pair, row
from tools.data.skills import SKILLS

KINDS = ("byte_level", "mistral", "llama")


def sentencepiece_like() -> dict[str, Any]:
    """A BPE whose entries, as SentencePiece's, hold a space mark at their front or not at all."""
    rng = random.Random(0)
    some = [pair(skill, SKILLS[skill](rng)) for skill in SKILLS for _ in range(30)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Metaspace(prepend_scheme="never"),
        ]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    tokenizer.train_from_iterator([p.prompt + p.completion for p in some], trainer)
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    state["added_tokens"] = state["added_tokens"][: len(special)]
    state["pre_tokenizer"] = None
    return state


def mistral() -> PreTrainedTokenizerFast:
    """As Mistral-7B-v0.1's file: a normalizer puts the space mark, a template puts BOS."""
    state = sentencepiece_like()
    marks = [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    ]
    state["normalizer"] = {"type": "Sequence", "normalizers": marks}
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def llama() -> PreTrainedTokenizerFast:
    """As transformers 5 writes for Llama."""
    model = sentencepiece_like()["model"]
    return LlamaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextCodec]:
    """The tokenizers as the worker reads them."""
    root = tmp_path_factory.mktemp("tokenizers")
    for kind, make in zip(KINDS, (byte_level_tokenizer, mistral, llama), strict=True):
        make().save_pretrained(root / kind)
    return {kind: TextCodec.load(root / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skill", SKILLS)
def test_a_row_begins_with_the_ids_the_worker_reads(
    kind: str, skill: str, codecs: dict[str, TextCodec]
) -> None:
    codec, rng = codecs[kind], random.Random(skill)
    for _ in range(20):
        block = [pair(skill, SKILLS[skill](rng)) for _ in range(3)]
        made = tokens.encode(codec, row(block)["segments"])
        shown = ""
        for item in block:
            shown += item.prompt
            prompt = list(codec.encode_prompt(shown).ids)
            answer = list(codec.encode_prompt(shown + item.completion).ids)[len(prompt) :]
            learnt = made["labels"][len(prompt) : len(prompt) + len(answer)]
            assert made["input_ids"][: len(prompt)] == prompt
            assert learnt == answer, "the answer is not what the worker would have to generate"
            shown += item.completion + "\n\n"


@pytest.mark.parametrize("kind", KINDS)
def test_only_answers_and_the_end_are_learnt(kind: str, codecs: dict[str, TextCodec]) -> None:
    codec = codecs[kind]
    segments = [
        {"text": "Question: one?\nAnswer:", "label": False},
        {"text": " two", "label": True},
        {"text": "\n\nQuestion: three?\nAnswer:", "label": False},
        {"text": " four", "label": True},
    ]
    made = tokens.encode(codec, segments)
    learnt = [token for token in made["labels"] if token != tokens.IGNORED]
    assert learnt[-1] == made["input_ids"][-1] == codec.eos_id
    spelt = b"".join(codec.token_bytes(token) for token in learnt[:-1])
    assert spelt.decode() == " two four"
    assert all(
        b in (a, tokens.IGNORED) for a, b in zip(made["input_ids"], made["labels"], strict=True)
    )
    assert made["attention_mask"] == [1] * len(made["input_ids"])


def test_files_are_made_once_and_anew_for_other_data(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    prepare(run)
    made = tokens.files(run, tiny_model)
    assert sorted(made) == ["train", "validation"] and all(p.is_file() for p in made.values())
    made["train"].write_text("kept")
    assert tokens.files(run, tiny_model)["train"].read_text() == "kept"
    other = make_run(tmp_path, data__seed=2)
    prepare(other)
    assert tokens.files(other, tiny_model)["train"] != made["train"]


def test_a_trial_finds_them_by_the_path_of_the_run_that_it_is_of(tmp_path: Path) -> None:
    """Axolotl keeps what it prepares by that path: once, not once for each trial."""
    run, trial = make_run(tmp_path / "runs"), make_run(tmp_path / "runs" / "tiny" / "trials" / "0")
    (trial.path / "tokens").symlink_to("../../../tokens", target_is_directory=True)
    assert tokens.paths(trial) == tokens.paths(run)


def test_the_share_of_learnt_tokens(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    prepare(run)
    file = tokens.files(run, tiny_model)["train"]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    labels = [label for row in rows for label in row["labels"]]
    share = sum(label != tokens.IGNORED for label in labels) / len(labels)
    assert tokens.learnt_share(file) == share and 0.01 < share < 0.5
    (counts,) = file.parent.glob("train*.counts.json")
    counts.unlink()  # as files of an older version
    assert tokens.learnt_share(tokens.files(run, tiny_model)["train"]) == share


def test_read_cuts_and_counts(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3], "attention_mask": [1, 1, 1]}] * 3
    file.write_text("".join(json.dumps(line) + "\n" for line in rows))
    assert tokens.read(file, 2, 1024) == [([1, 2, 3], [-100, 2, 3])] * 2
    assert tokens.read(file, 1, 2) == [([1, 2], [-100, 2])]
