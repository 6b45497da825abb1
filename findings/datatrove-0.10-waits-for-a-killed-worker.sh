#!/usr/bin/env bash
# datatrove 0.10.1: a worker of LocalPipelineExecutor(workers=2) is killed (kill -9, out of memory).
#
# Expected: run() ends and tells that a task did not.
# Seen: run() never ends: multiprocessing's pool starts another worker, and the task that the dead one
# had is waited for without end. An executor a task (local_tasks=1, local_rank_offset, workers=1), each
# a process of its own, dies with its task, and whoever started it sees that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${FINDINGS_VENV:-}" ]; then
  python=$FINDINGS_VENV/bin/python
else
  python3.12 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet datatrove==0.10.1
fi
cd "$folder"
cat > run.py <<'PYTHON'
import os
import signal
import sys

from datatrove.executor.local import LocalPipelineExecutor


def step(data, rank, world_size):
    """Task 1 is killed, the other is done at once."""
    if rank:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    alone = sys.argv[1] == "alone"
    more = {"local_tasks": 1, "local_rank_offset": 1} if alone else {}
    LocalPipelineExecutor(
        [step], tasks=2, workers=1 if alone else 2, logging_dir=f"logs-{sys.argv[1]}", **more
    ).run()
PYTHON
"$python" - <<'PYTHON'
import os
import signal
import subprocess
import sys
from importlib.metadata import version

print("datatrove", version("datatrove"))
seen = {}
for way in ("pool", "alone"):
    with open(f"{way}.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "run.py", way], stdout=log, stderr=log, start_new_session=True
        )
        try:
            seen[way] = f"ended with {process.wait(60)}"
        except subprocess.TimeoutExpired:
            done = os.listdir(f"logs-{way}/completions")
            seen[way] = f"still waits after 60 s, complete: {done}"
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    print(f"{way}: {seen[way]}")
hangs = seen["pool"] == "still waits after 60 s, complete: ['00000']"
sys.exit(0 if hangs and seen["alone"] == "ended with -9" else "this has changed")
PYTHON
