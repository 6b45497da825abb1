"""An Axolotl plugin that ruins the weights at one step, as a broken kernel would."""

import os
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

STEP = "ONEDAY_TEST_POISON"  # environment variable: before which step; without it nothing happens


class Poison(BasePlugin):
    """To be named in ``train.plugins``."""

    def add_callbacks_pre_trainer(self, cfg: DictDefault, model: Any) -> list[TrainerCallback]:
        return [_Dose(int(os.environ[STEP]))] if STEP in os.environ else []


class _Dose(TrainerCallback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        """Make one trained matrix NaN."""
        if state.global_step + 1 == self._step:
            trained = next(weight for weight in model.parameters() if weight.requires_grad)
            with torch.no_grad():
                trained.fill_(float("nan"))
