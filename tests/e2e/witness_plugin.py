"""An Axolotl plugin that writes down what the trainer computes its losses from."""

import json
import os
from pathlib import Path
from typing import Any

from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault

FILE = "ONEDAY_TEST_WITNESS"  # environment variable: the file; without it nothing happens


class Witness(BasePlugin):
    """To be named in ``train.plugins``."""

    def post_trainer_create(self, cfg: DictDefault, trainer: Any) -> None:
        """Wrap the trainer's loss: a line a batch, ids and labels without padding, and the loss."""
        plain = trainer.compute_loss

        def seen(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            ids, labels = inputs["input_ids"].tolist(), inputs["labels"].tolist()
            made = plain(model, inputs, *args, **kwargs)
            loss = made[0] if isinstance(made, tuple) else made
            with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
                line = {"ids": ids, "labels": labels, "training": model.training}
                file.write(json.dumps({**line, "loss": float(loss)}) + "\n")
            return made

        if FILE in os.environ:
            trainer.compute_loss = seen
