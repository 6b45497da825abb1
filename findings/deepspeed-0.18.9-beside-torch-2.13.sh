#!/usr/bin/env bash
# deepspeed 0.18.9 (the newest 0.18; the extra of axolotl 0.21.0 takes it) beside torch 2.13.0, which
# axolotl 0.21.0 asks for at least: ZeRO-2, two processes.
#
# Expected: a step is made, as with one process.
# Seen: the first step raises "Output 0 of Split is a view and is being modified inplace": the optimizer
# gathers its parts straight into views of its own weights. One process has nothing to gather, so a
# smoke test on a single card passes. deepspeed 0.19.8 makes the step (DEEPSPEED=0.19.8 shows it, and
# says that this has changed); ZeRO-3 (STAGE=3) does not gather so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
version=${DEEPSPEED:-0.18.9}
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet torch==2.13.0 numpy einops psutil pydantic tqdm setuptools
fi
# Beside the environment, not in it.
"$python" -m pip install --quiet --no-deps --no-build-isolation --target "$folder/more" \
  "deepspeed==$version" hjson==3.1.0 msgpack==1.1.2 ninja==1.13.0 py-cpuinfo==9.0.0
cd "$folder"
cat > step.py <<'PYTHON'
import json
import os
import sys
import traceback
from importlib.metadata import version
from pathlib import Path

import torch

import deepspeed
import deepspeed.ops

# Else two processes of one machine have a helper compiled, which takes minutes; gloo does without.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
said = "a step was made"
try:
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config={
        "train_micro_batch_size_per_gpu": 4, "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": int(sys.argv[1])}})
    engine.backward(engine(torch.randn(4, 8)).square().mean())
    engine.step()
except RuntimeError as error:
    said = str(error).partition(". ")[0]
    traceback.print_exc()
if os.environ["RANK"] == "0":
    versions = f"deepspeed {version('deepspeed')}, torch {torch.__version__}"
    Path("said.json").write_text(json.dumps([versions, said]))
os._exit(0)
PYTHON
export PYTHONPATH="$folder/more" CUDA_VISIBLE_DEVICES="" DS_ACCELERATOR=cpu OMP_NUM_THREADS=1
seen=""
for processes in 1 2; do
  "$python" -m torch.distributed.run --standalone --nproc_per_node=$processes step.py "${STAGE:-2}" \
    > log.txt 2>&1 || { tail -20 log.txt; exit 1; }
  "$python" -c 'import json, sys; print(", ".join(json.load(open("said.json"))), sep="")' > said.txt
  echo "$processes process(es), ZeRO-${STAGE:-2}: $(cat said.txt)"
  seen="$seen;$(sed 's/.*, //' said.txt)"
done
[ "$seen" = ";a step was made;Output 0 of Split is a view and is being modified inplace" ] \
  || { echo "this has changed"; exit 1; }
