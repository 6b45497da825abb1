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
        shifted: whether the model tells a label from the tokens before it: then the first of a row
            is nobody's target.
    """

    def __init__(self, trainer: Any, shifted: bool = True) -> None:
        self._trainer, self._first = trainer, int(shifted)
        self._step, self._loop = trainer.prediction_step, trainer.evaluation_loop
        self._sum = self._tokens = 0.0
        trainer.prediction_step, trainer.evaluation_loop = self.step, self.loop

    def step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """``prediction_step``: takes down the loss of a batch and its tokens."""
        inputs = self._without_repeated(inputs)
        labels = inputs.get("labels")
        tokens = 0 if labels is None else int((labels[..., self._first :] != IGNORED).sum())
        made = self._alone(model, inputs, *args, **kwargs)
        if tokens and made[0] is not None:  # without a learnt token it is 0 / 0
            self._sum += float(made[0]) * tokens
            self._tokens += tokens
        return made

    def _alone(self, *args: Any, **kwargs: Any) -> Any:
        """The trainer's own step with the plain loss, a mean over this job's tokens alone."""
        trainer, options = self._trainer, self._trainer.args
        trained, across = trainer.compute_loss_func, options.average_tokens_across_devices
        # The model then computes its own; and without the count of all jobs.
        trainer.compute_loss_func, options.average_tokens_across_devices = None, False
        try:
            return self._step(*args, **kwargs)
        finally:
            trainer.compute_loss_func = trained
            options.average_tokens_across_devices = across

    def loop(self, *args: Any, **kwargs: Any) -> Any:
        """``evaluation_loop``: its loss is replaced by the mean over all tokens of all jobs."""
        self._sum = self._tokens = 0.0
        output = self._loop(*args, **kwargs)
        lost, tokens = self._of_all_jobs()
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = lost / tokens if tokens else math.nan
        return output

    def _without_repeated(self, inputs: Any) -> Any:
        """The batch, learning nothing of rows that are only there to give every job as many.

        Where several jobs evaluate, accelerate fills the last batches up with the first rows.
        """
        accelerator, labels = self._trainer.accelerator, inputs.get("labels")
        last = accelerator.gradient_state
        packed = getattr(self._trainer.args, "eval_sample_packing", False)  # those are not even
        if accelerator.num_processes == 1 or labels is None or packed or not last.end_of_dataloader:
            return inputs
        # Rows of the last round, over all jobs; 0 where it is full.
        if (rest := last.remainder) <= 0:
            return inputs
        before = accelerator.process_index * self._trainer.args.per_device_eval_batch_size
        own = labels.clone()
        own[max(0, rest - before) :] = IGNORED
        return {**inputs, "labels": own}

    def _of_all_jobs(self) -> tuple[float, float]:
        import torch

        accelerator = self._trainer.accelerator
        mine = torch.tensor(
            [self._sum, self._tokens], dtype=torch.float64, device=accelerator.device
        )
        lost, tokens = accelerator.reduce(mine, reduction="sum").tolist()
        return lost, tokens


def evaluate_evenly(trainer: Any) -> None:
    """Evaluate with as many batches in every job.

    Where rows are packed to train, Axolotl turns even batches off, and leaves them off: a job with
    one more than the others waits for them for ever.
    """
    plain = trainer.get_eval_dataloader

    def loader(*args: Any, **kwargs: Any) -> Any:
        trainer.accelerator.even_batches = True
        return plain(*args, **kwargs)

    if not getattr(trainer.args, "eval_sample_packing", False):
        trainer.get_eval_dataloader = loader
