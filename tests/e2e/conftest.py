"""A model small enough to train in seconds, and a recipe for it; the chain is the real one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.conftest import byte_level_tokenizer, save_model

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "ONEDAY_HELM_VENV": str(ROOT / ".venv-helm")}
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


def write_recipe(folder: Path) -> Path:
    """A recipe file for a random Llama of 100 thousand weights with tied embeddings."""
    model = save_model(
        folder / "tiny",
        byte_level_tokenizer(),
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        initializer_range=0.05,  # wilder weights are taken for broken ones
    )
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE.format(path=model), encoding="utf-8")
    return recipe


def words(verb: str, recipe: Path, runs: Path, *sets: str, force: bool = False) -> list[str]:
    """The command line of a verb; ``sets`` change values of the recipe."""
    options = ["--recipe", str(recipe), "--runs", str(runs), *["--force"] * force]
    return [sys.executable, "-m", "tools", verb, *options, *[x for s in sets for x in ("--set", s)]]


def start(
    verb: str,
    recipe: Path,
    runs: Path,
    *sets: str,
    env: dict[str, str] | None = None,
    force: bool = False,
) -> subprocess.Popen[str]:
    """A verb that runs meanwhile; all that it prints goes into one pipe."""
    return subprocess.Popen(
        words(verb, recipe, runs, *sets, force=force),
        cwd=ROOT,
        env={**ENV, **(env or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Tests that a shell put into its background ignore Ctrl+C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def call(
    verb: str,
    recipe: Path,
    runs: Path,
    *sets: str,
    env: dict[str, str] | None = None,
    force: bool = False,
) -> subprocess.CompletedProcess[str]:
    """A verb, to its end."""
    process = start(verb, recipe, runs, *sets, env=env, force=force)
    printed, _ = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, printed)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That recipe, in a path with a space."""
    return write_recipe(tmp_path_factory.mktemp("my recipes"))


@pytest.fixture(scope="session")
def alone(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed, from data to quantized; only to be read."""
    from tests.torture import left_alone

    return left_alone(tiny_recipe, tmp_path_factory.mktemp("torture"))
