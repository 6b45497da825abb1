"""Train a model that is not causal, in this process.

``python -m tools.trainers.job train trainer.yaml '{"output_dir": …}'``, called as Axolotl's job is:
the YAML stays a plain file, and what only matters inside a run folder comes as overrides.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.process import end_with_parent


def main(command: str, config: str, overrides: dict[str, Any]) -> None:
    """Train as a file says; ``train`` is the only command there is."""
    import yaml

    if command != "train":
        raise SystemExit(f"no command {command}; there is train")
    settings = {**yaml.safe_load(Path(config).read_text(encoding="utf-8")), **overrides}
    from tools.trainers import answering, masked, seq2seq

    makers = {"seq2seq": seq2seq.make, "encoder": masked.make}
    answering.train(settings, makers[settings["kind"]])


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
