"""The GGUF file holds the same model: transformers reads it back and computes the same."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from benchmarks.llama_gguf import NotConvertible, convert


def test_weights_and_vocabulary_survive(model: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    convert(model, tmp_path / "tiny.gguf")
    back = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf")
    own = AutoModelForCausalLM.from_pretrained(model)
    text = "The capital of France is Paris."
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.no_grad():
        assert torch.equal(own(ids).logits, back(ids).logits)
    fields = GGUFReader(tmp_path / "tiny.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[: tokenizer.get_vocab_size()] == [
        tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())
    ]
    assert tokens[-1] == f"[UNUSED{own.config.vocab_size - 1}]"
    merges = json.loads((model / "tokenizer.json").read_text())["model"]["merges"]
    assert fields["tokenizer.ggml.merges"].contents() == [" ".join(pair) for pair in merges]
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.gguf"]


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "model_type", "qwen2"),
        ("config.json", "attention_bias", True),
        ("tokenizer.json", "pre_tokenizer", {"type": "Metaspace"}),
    ],
)
def test_what_would_differ_is_refused(
    model: Path, tmp_path: Path, file: str, key: str, value: object
) -> None:
    shutil.copytree(model, tmp_path / "other")
    content = json.loads((tmp_path / "other" / file).read_text())
    (tmp_path / "other" / file).write_text(json.dumps(content | {key: value}))
    with pytest.raises(NotConvertible):
        convert(tmp_path / "other", tmp_path / "other.gguf")
    assert not (tmp_path / "other.gguf").exists()
