"""``eval_loss`` as a mean over learnt tokens, whatever the batches.

transformers' Trainer averages the losses of its evaluation batches, each a mean over the batch's
own tokens: a batch of few tokens counts as much as one of many, so the same model has another loss
at another batch size. It also evaluates by whatever loss is trained: one that weighs tokens (DFT,
EAFT) may fall while the model gets worse. The best checkpoint is chosen by eval_loss, and a broken
training is told by it, so it is the plain cross entropy whatever is trained.
"""

import math
from typing import Any

IGNORED = -100  # label of a token that is not learnt, as in torch's cross entropy


class TokenLoss:
    """Weighs what each evaluation batch lost by its tokens.

    Args:
        trainer: transformers' or Axolotl's; two of its methods are wrapped.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._step, self._loop = trainer.prediction_step, trainer.evaluation_loop
        self._sum = self._tokens = 0.0
        trainer.prediction_step, trainer.evaluation_loop = self.step, self.loop

    def step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """``prediction_step``: takes down the loss of a batch and its tokens."""
        labels = inputs.get("labels")
        # The first token of a row is nobody's target.
        tokens = 0 if labels is None else int((labels[..., 1:] != IGNORED).sum())
        trained = self._trainer.compute_loss_func
        self._trainer.compute_loss_func = None  # then the model computes its own, the plain one
        try:
            made = self._step(model, inputs, *args, **kwargs)
        finally:
            self._trainer.compute_loss_func = trained
        if tokens and made[0] is not None:  # without a learnt token it is 0 / 0
            self._sum += float(made[0]) * tokens
            self._tokens += tokens
        return made

    def loop(self, *args: Any, **kwargs: Any) -> Any:
        """``evaluation_loop``: its loss is replaced by the mean over all tokens of all jobs."""
        self._sum = self._tokens = 0.0
        output = self._loop(*args, **kwargs)
        lost, tokens = self._of_all_jobs()
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = lost / tokens if tokens else math.nan
        return output

    def _of_all_jobs(self) -> tuple[float, float]:
        import torch

        accelerator = self._trainer.accelerator
        mine = torch.tensor(
            [self._sum, self._tokens], dtype=torch.float64, device=accelerator.device
        )
        lost, tokens = accelerator.reduce(mine, reduction="sum").tolist()
        return lost, tokens


def evaluate_evenly(trainer: Any) -> None:
    """Evaluate every held-out row, with as many batches in every job.

    Where rows are packed to train, Axolotl drops a last batch that is not full, held-out rows and
    all. It also turns even batches off, and leaves them off: a job with one more than the others
    waits for them for ever.
    """
    plain = trainer.get_eval_dataloader

    def loader(*args: Any, **kwargs: Any) -> Any:
        trainer.accelerator.even_batches = True
        dropped, trainer.args.dataloader_drop_last = trainer.args.dataloader_drop_last, False
        try:
            return plain(*args, **kwargs)
        finally:
            trainer.args.dataloader_drop_last = dropped

    if not getattr(trainer.args, "eval_sample_packing", False):
        trainer.get_eval_dataloader = loader
