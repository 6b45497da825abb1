"""Our Axolotl plugin: packed rows apart, and all that any trainer of ours gets."""

from typing import Any

from axolotl.integrations.base import BasePlugin
from axolotl.utils.dict import DictDefault
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tools.axolotl import packed_attention
from tools.day import guard
from tools.trainers import callbacks
from tools.trainers.telling import end, several
from tools.trainers.token_loss import evaluate_evenly


class OnedayPlugin(BasePlugin):
    """What Axolotl leaves to chance, to the clock on the wall, or to the reader of its log."""

    def pre_model_load(self, cfg: DictDefault) -> None:
        """Put our attention in place of the one whose documents would see one another."""
        plain = cfg.attn_implementation == packed_attention.NAME
        if plain and cfg.sample_packing and cfg.sdpa_varlen:
            packed_attention.install()  # over Axolotl's own, which leaves windows out

    def post_trainer_create(self, cfg: DictDefault, trainer: Any) -> None:
        """Watch every training; keep those to the day that were told of one."""
        trainer.add_callback(Apart())
        evaluate_evenly(trainer)
        if several():
            # Axolotl turns it off: each job's tokens would count by how few they are in its batch.
            trainer.args.average_tokens_across_devices = True
        callbacks.attach(trainer)


class Apart(TrainerCallback):
    """Ends a training in whose packs the documents see one another."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look once the first step has shown which attention the model calls."""
        if packed_attention.unused():
            end(state.global_step, "fault", guard.PACKS)
