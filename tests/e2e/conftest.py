"""A model small enough to train in seconds, and a recipe for it; the chain is the real one."""

from pathlib import Path

import pytest

from tests.serve.conftest import byte_level_tokenizer, save_model

RECIPE = """\
defaults: [base, hardware/cpu, data/reasoning, serve/helm]
model:
  id: oneday/tiny
  source: local
  path: {path}
  family: Llama 2
  licence: Apache-2.0
  instruct: false
  context: 1024
  eos: <|im_end|>
  pad: <|endoftext|>
data:
  validation_rows: 16
  test_rows: 16
  shots: 2
  sources:
    boxes: {{rows: 40}}
    places: {{rows: 40}}
    counting: {{rows: 40}}
    syllogism: {{rows: 40}}
train:
  adapter: lora
  lora_r: 8
  lora_alpha: 16
  lora_target_linear: true
  sequence_len: 1024
  micro_batch_size: 2
  gradient_accumulation_steps: 1
  learning_rate: 1e-2
  optimizer: adamw_torch
  save_steps: 10
  eval_steps: 10
  logging_steps: 2
serve: {{context: 1024}}
quantize: {{format: nf4, max_perplexity_ratio: 1.3, perplexity_rows: 8}}
eval:
  tier: tiny
  max_instances: 4
  tiers:
    tiny: [oneday, "dyck_language:num_parenthesis_pairs=3"]
"""


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe file for a random Llama of 100 thousand weights with tied embeddings."""
    folder = tmp_path_factory.mktemp("my recipes")  # a path with a space
    model = save_model(
        folder / "tiny",
        byte_level_tokenizer(),
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE.format(path=model), encoding="utf-8")
    return recipe
