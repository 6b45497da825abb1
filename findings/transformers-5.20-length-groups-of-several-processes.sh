#!/usr/bin/env bash
# transformers 5.20.1, train_sampling_strategy="group_by_length" on two processes, several epochs.
#
# Expected: in each epoch every row is trained once, by one of the processes, as without grouping: each
# process takes its own share of one order.
# Seen: so it is in the first epoch only. From the second on the processes no longer draw the same order
# (their random generators have gone apart, by dropout for one), so some rows are trained by both and
# others by none. Nothing is said.
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
cat > rows.py <<'PYTHON'
"""Three epochs over 24 rows of varied lengths: which of them did the two processes see in each?"""

import sys
from importlib.metadata import version

import torch
from accelerate.utils import gather_object
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

ROWS, EPOCHS = 24, 3
rows = [[number] + [30 + (number * 7 + place) % 15 for place in range(4 + 3 * (number % 6))]
        for number in range(ROWS)]
seen = []


def batch(items):
    """Pads, and takes down the rows: each begins with its own number."""
    texts = [item["input_ids"] for item in items]
    seen.extend(text[0] for text in texts)
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    return {"input_ids": ids, "labels": ids.masked_fill(mask == 0, -100), "attention_mask": mask}


torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=50, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
    attention_dropout=0.3))
arguments = TrainingArguments(
    "out", per_device_train_batch_size=2, num_train_epochs=EPOCHS, use_cpu=True, seed=1, report_to=[],
    train_sampling_strategy=sys.argv[1], save_strategy="no", disable_tqdm=True)
trainer = Trainer(model, arguments, data_collator=batch,
                  train_dataset=[{"input_ids": row, "labels": row} for row in rows])
trainer.train()
shares = gather_object([seen])
if trainer.is_world_process_zero():
    share = ROWS // 2
    missing = [sorted(set(range(ROWS)) - {row for mine in shares for row in mine[epoch * share :][:share]})
               for epoch in range(EPOCHS)]
    print(f"transformers {version('transformers')}, {sys.argv[1]}: rows that no process saw, an epoch: "
          f"{[len(rows) for rows in missing]}")
    whole = sys.argv[1] == "random"
    changed = any(missing) if whole else bool(missing[0]) or not all(missing[1:])
    sys.exit("the finding has changed" if changed else 0)
PYTHON
export OMP_NUM_THREADS=1
for strategy in random group_by_length; do
  "$python" -m torch.distributed.run --standalone --nproc_per_node=2 rows.py "$strategy" 2> errors.txt \
    || { tail -5 errors.txt; exit 1; }
done
