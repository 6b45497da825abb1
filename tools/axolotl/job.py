"""Run one of Axolotl's own commands with values of ours over its YAML file, in this process.

``python -m tools.axolotl.job train|quantize axolotl.yaml '{"output_dir": …}'``. The YAML
stays a plain file that bare Axolotl runs too; what only matters inside a run folder comes as
overrides.
"""

import json
import sys
from typing import Any

from tools.process import end_with_parent


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
    end_with_parent()
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
