#!/usr/bin/env bash
# axolotl 0.21.0 (datasets 5.0.1): dataset_prepared_path, and a training that was killed while it
# saved the rows there.
#
# Expected: a set that was saved by half is no cache: it is prepared again, as where there is none.
# Seen: any folder that is not empty is loaded. The same command ends with FileNotFoundError ("neither
# a Dataset directory nor a DatasetDict directory"), and does so each time until somebody removes it.
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
cat > torn.py <<'PYTHON'
import logging
import sys
from importlib.metadata import version
from pathlib import Path

from axolotl.utils.data.shared import load_preprocessed_dataset, save_preprocessed_dataset
from axolotl.utils.dict import DictDefault
from datasets import Dataset, disable_progress_bars

if __name__ == "__main__":  # datasets saves in processes that read this file again
    logging.disable(logging.WARNING)
    disable_progress_bars()
    print("axolotl", version("axolotl"), "datasets", version("datasets"))
    cfg = DictDefault({"dataset_prepared_path": "prepared"})
    save_preprocessed_dataset(cfg, Dataset.from_dict({"input_ids": [[1, 2], [3]]}), "abc", "train")
    whole = load_preprocessed_dataset(cfg, "abc")
    print("saved whole:", len(whole), "rows")
    # The order in which datasets writes: the rows, state.json, dataset_info.json.
    for name in ("dataset_info.json", "state.json"):
        Path("prepared", "abc", name).unlink()
    seen = []
    for attempt in (1, 2):
        try:
            found = load_preprocessed_dataset(cfg, "abc")
            seen.append(f"taken for {'none' if found is None else f'{len(found)} rows'}")
        except FileNotFoundError:
            seen.append("FileNotFoundError")
        print(f"killed behind the rows, attempt {attempt}: {seen[-1]}")
    sys.exit(0 if seen == ["FileNotFoundError"] * 2 else "this has changed")
PYTHON
AXOLOTL_DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES="" "$python" torn.py
