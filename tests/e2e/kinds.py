"""Runs of models that are not causal: a recipe of each tiny family, and a training killed."""

import json
import signal
import time
from pathlib import Path
from typing import Any

from tests import kin
from tests.e2e.conftest import start
from tests.torture import NEVER
from tools.recipe.stacks import EAGER

RECIPE = """\
defaults: [base, hardware/cpu, data/reasoning, serve/helm]
budget: {{checkpoint_minutes: 60}}
model:
  id: oneday/{family}
  source: local
  path: {path}
  family: {name}
  licence: Apache-2.0
  instruct: false
  kind: {kind}
  context: 512
  eos: "{end}"
  pad: "{pad}"
data:
  validation_rows: 8
  test_rows: 8
  shots: 2
  sources:
    boxes: {{rows: 24}}
    places: {{rows: 24}}
    counting: {{rows: 24}}
    syllogism: {{rows: 24}}
train:
  adapter: lora
  lora_r: 8
  lora_alpha: 16
  lora_target_linear: true
  sequence_len: 512
  micro_batch_size: 4
  gradient_accumulation_steps: 1
  learning_rate: 1e-2
  optimizer: adamw_torch
  group_by_length: true
  num_epochs: 2
  save_steps: 8
  eval_steps: 8
  logging_steps: 2
  attn_implementation: {attention}
serve: {{context: 512}}
"""
NAMES = {"t5": "T5", "t5-v1_1": "T5", "ul2": "UL2", "bart": "BART", "bert": "BERT",
         "roberta": "RoBERTa", "albert": "ALBERT", "electra": "ELECTRA",
         "distilbert": "DistilBERT", "deberta": "DeBERTa", "deberta-v2": "DeBERTa"}  # fmt: skip


def write(folder: Path, family: str) -> Path:
    """A recipe of a family's tiny folder."""
    model = kin.folder(family, folder / family)
    told = json.loads((model / "tokenizer_config.json").read_text())
    text = RECIPE.format(
        family=family,
        path=model,
        name=NAMES[family],
        kind="seq2seq" if family in kin.SEQ2SEQ else "encoder",
        end=told["eos_token"],
        pad=told["pad_token"],
        # As in recipes/models: transformers has no other for DeBERTa.
        attention="eager" if family in EAGER else "sdpa",
    )
    recipe = folder / f"{family}.yaml"
    recipe.write_text(text, encoding="utf-8")
    return recipe


def killed(recipe: Path, runs: Path, *sets: str) -> None:
    """Start a training, and kill it behind its first checkpoint, or where that never comes."""
    process, until = start("train", recipe, runs, *sets), time.monotonic() + NEVER
    try:
        while not any(runs.glob("*/.adapter.*.partial/checkpoint-*/.complete")):
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < until, "the moment to kill never came"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "oneday.json").read_text())["metrics"]
    return found


def recorded(folder: Path) -> dict[str, list[str]]:
    """HELM's own record of the answers that it got, by run spec."""
    answers = {}
    for file in sorted(folder.glob("benchmark_output/runs/*/*/scenario_state.json")):
        states: list[dict[str, Any]] = json.loads(file.read_text())["request_states"]
        answers[file.parent.name] = [
            completion["text"] for state in states for completion in state["result"]["completions"]
        ]
    return answers
