#!/usr/bin/env bash
# axolotl 0.21.0 (trl as it brings it), rl: dpo or kto after a first training: adapter: lora with
# lora_model_dir.
#
# Expected: preference training goes on from the adapter that lora_model_dir names, as plain training
# and orpo do.
# Seen: dpo and kto begin with a new adapter. Of the one that was trained only the settings are taken;
# after a step at a learning rate of nearly nothing the model answers as the bare base does, and no
# error or warning is raised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet axolotl==0.21.0 torch==2.13.0
fi
cd "$folder"
cat > preferences.py <<'PYTHON'
import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.train import setup_model_and_trainer

logging.disable(logging.WARNING)
IDS = torch.tensor([[1, 2, 3, 4, 5]])
TARGETS = ["q_proj", "v_proj", "o_proj"]
COLUMNS = {
    "dpo": ("prompt", "chosen", "rejected"),
    "kto": ("prompt", "completion", "label"),
    "orpo": ("prompt", "chosen", "rejected"),
}


def prepare():
    """A tiny model, an adapter that was trained, and the logits of both."""
    words = {f"w{i}": i for i in range(30)} | {"<unk>": 30, "</s>": 31}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="<unk>"
    ).save_pretrained("model")
    torch.manual_seed(0)
    base = LlamaForCausalLM(LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64))
    base.save_pretrained("model")
    tuned = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM"))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    tuned.save_pretrained("adapter")
    with torch.no_grad():
        with tuned.disable_adapter():
            bare = tuned(IDS).logits
        return tuned(IDS).logits, bare


def after_a_step(method):
    """Logits of the model that Axolotl's trainer holds after a step that changes next to nothing."""
    rows = [
        {"prompt": f"w{i} w1", "chosen": "w2 w3", "rejected": "w4 w5", "completion": "w2 w3",
         "label": i % 2 == 0} for i in range(8)]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "base_model": "model", "rl": method, "adapter": "lora", "lora_model_dir": "adapter",
        "lora_r": 4, "lora_alpha": 8, "lora_target_modules": TARGETS,
        "datasets": [{"path": "pairs.jsonl", "ds_type": "json", "split": "train",
                      "type": "chat_template.argilla"}],
        "output_dir": f"out-{method}", "sequence_len": 32, "micro_batch_size": 2,
        "gradient_accumulation_steps": 1, "max_steps": 1, "learning_rate": 1e-9,
        "optimizer": "adamw_torch", "attn_implementation": "sdpa", "bf16": False, "fp16": False,
        "tf32": False, "remove_unused_columns": False, **({"orpo_alpha": 0.1} if method == "orpo" else {}),
    }
    if method == "kto":
        config["datasets"][0]["type"] = "chatml.argilla"
    Path("config.yaml").write_text(yaml.safe_dump(config))
    kept = [{name: row[name] for name in COLUMNS[method]} for row in rows]
    meta = TrainDatasetMeta(
        train_dataset=Dataset.from_list(kept), eval_dataset=None, total_num_steps=1)
    trainer = setup_model_and_trainer(load_cfg("config.yaml"), meta)[0]
    trainer.train()
    with torch.no_grad():
        return trainer.model.eval()(input_ids=IDS).logits


def main():
    tuned, bare = prepare()
    seen = {}
    for method in COLUMNS:
        logits = after_a_step(method)
        goes_on = torch.allclose(logits, tuned, atol=1e-4)
        anew = torch.allclose(logits, bare, atol=1e-4)
        seen[method] = {(True, False): "goes on", (False, True): "begins on the bare base"}[
            goes_on, anew]
    print("axolotl", version("axolotl"), "trl", version("trl"))
    for method, what in seen.items():
        print(f"{method} with lora_model_dir: {what}")
    anew = "begins on the bare base"
    sys.exit(0 if seen == {"dpo": anew, "kto": anew, "orpo": "goes on"} else "this has changed")


if __name__ == "__main__":  # data sets are written by processes that import this file again
    main()
PYTHON
AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES="" "$python" preferences.py
