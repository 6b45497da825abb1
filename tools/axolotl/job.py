"""Run one of Axolotl's own commands with values of ours over its YAML file, in this process.

``python -m tools.axolotl.job train|quantize axolotl.yaml '{"output_dir": …}'``. The YAML
stays a plain file that bare Axolotl runs too; what only matters inside a run folder comes as
overrides.
"""

import json
import os
import signal
import sys
from typing import Any

from tools.process import dies_with_parent


def main(command: str, config: str, overrides: dict[str, Any]) -> None:
    """Call Axolotl's entry point for ``command``."""
    if command == "train":
        from tools.axolotl import processes

        processes.join()
        from axolotl.cli.train import do_cli as train

        train(config, **overrides)
    else:
        from axolotl.cli.quantize import do_quantize

        do_quantize(config, overrides)


if __name__ == "__main__":
    # A worker that loads rows would wait for ever on a full pipe when this process is killed, and a
    # job of torchrun's on the others when that is.
    if ask := dies_with_parent(signal.SIGKILL):
        ask()
        os.register_at_fork(after_in_child=ask)
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
