#!/usr/bin/env bash
# transformers 5.20.1, load_best_model_at_end: a run folder that was moved, or its best checkpoint gone.
#
# Expected: Trainer.train(resume_from_checkpoint=...) on a finished run whose folder has another place
# now ends, as on the folder that stayed, with the weights of the best checkpoint: it lies in the new
# folder under its own name. And where the best one is gone ("Ignoring it for this run"), the best of
# the evaluations still to come is loaded at the end.
# Seen: the path is forgotten, the best metric is kept. In the first case the weights at the end are
# those of the last step; in the second no later evaluation counts as the best, so that again the last
# step's weights are what comes out of load_best_model_at_end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet transformers==5.20.1 accelerate==1.15.0 torch==2.13.0
fi
cd "$folder"
"$python" - <<'PYTHON'
import logging
import shutil
import sys
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed
from transformers.utils import logging as theirs

theirs.set_verbosity_error()
theirs.disable_progress_bar()
logging.disable(logging.WARNING)
print("transformers", version("transformers"))
LOSSES = {2: 1.0, 4: 3.0, 6: 2.0, 8: 2.5}  # what the evaluation after a step is said to give


class Judged(Trainer):
    """A trainer whose held-out loss is known, so that which step is the best is known."""

    def evaluation_loop(self, *args, **kwargs):
        output = super().evaluation_loop(*args, **kwargs)
        output.metrics["eval_loss"] = LOSSES[self.state.global_step]
        return output


def train(place, epochs, resume=None):
    set_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2))
    rows = [{"input_ids": [i % 16, 3, 5, 7], "labels": [i % 16, 3, 5, 7]} for i in range(16)]
    arguments = TrainingArguments(
        place, num_train_epochs=epochs, per_device_train_batch_size=4, learning_rate=0.1, use_cpu=True,
        eval_strategy="steps", save_strategy="steps", eval_steps=2, save_steps=2, report_to=[],
        load_best_model_at_end=True, metric_for_best_model="eval_loss", disable_tqdm=True,
        greater_is_better=False, lr_scheduler_type="constant")
    trainer = Judged(model, arguments, train_dataset=rows, eval_dataset=rows[:8])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def step_of(trainer, place, steps):
    """Which checkpoint the weights in the trainer are those of."""
    mine = trainer.model.state_dict()["lm_head.weight"]
    for step in steps:
        kept = LlamaForCausalLM.from_pretrained(f"{place}/checkpoint-{step}").state_dict()
        if torch.equal(mine, kept["lm_head.weight"]):
            return step
    return None


train("here", 1)  # of four steps
stayed = step_of(train("here", 1, "here/checkpoint-4"), "here", (2, 4))
shutil.move("here", "there")
moved = step_of(train("there", 1, "there/checkpoint-4"), "there", (2, 4))
print(f"finished run, best step 2: resumed where it was, step {stayed}; moved, step {moved}")
shutil.rmtree("there/checkpoint-2")
again = train("there", 2, "there/checkpoint-4")
went_on = step_of(again, "there", (4, 6, 8))
print(f"best gone, then losses of {LOSSES[6]} at step 6 and {LOSSES[8]} at step 8: step {went_on},",
      f"best metric {again.state.best_metric}, best checkpoint {again.state.best_model_checkpoint}")
sys.exit(0 if (stayed, moved, went_on) == (2, 4, 8) else "this has changed")
PYTHON
