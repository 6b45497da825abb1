"""Axolotl's keys as the arguments of transformers' Trainer."""

from pathlib import Path
from typing import Any

_SAME = (
    "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "gradient_accumulation_steps", "max_steps", "eval_strategy", "eval_steps", "save_strategy",
    "save_steps", "save_total_limit", "logging_steps", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better", "fp16", "gradient_checkpointing",
    "lr_scheduler_kwargs", "seed",
)  # fmt: skip
_CALLED = {
    "optimizer": "optim",
    "lr_scheduler": "lr_scheduler_type",
    "micro_batch_size": "per_device_train_batch_size",
    "num_epochs": "num_train_epochs",
}
#: What turns the order of rows into that of a sampler.
_ORDERS = {"listed": "sequential", "easy-first": "sequential"}


def arguments(settings: dict[str, Any]) -> dict[str, Any]:
    """What ``TrainingArguments`` is made with.

    Args:
        settings: as ``tools.trainers.request`` writes them; what is None is left to the Trainer.
    """
    batch = settings.get("micro_batch_size") or 1
    cpu = settings["device"] == "cpu"
    found: dict[str, Any] = {
        **{name: settings.get(name) for name in _SAME},
        **{theirs: settings.get(ours) for ours, theirs in _CALLED.items()},
        **_by_epoch(settings),
        "output_dir": settings["output_dir"],
        "per_device_train_batch_size": batch,
        "per_device_eval_batch_size": settings.get("eval_batch_size") or batch,
        "warmup_steps": settings.get("warmup_steps") or settings.get("warmup_ratio"),
        "train_sampling_strategy": _order(settings),
        "bf16": settings["bf16"] if isinstance(settings.get("bf16"), bool) else None,
        "tf32": settings["tf32"] if isinstance(settings.get("tf32"), bool) and not cpu else None,
        "gradient_checkpointing_kwargs": settings.get("gradient_checkpointing_kwargs")
        or {"use_reentrant": False},
        "label_names": ["labels"],  # an adapter around the model hides them
        "remove_unused_columns": False,
        "prediction_loss_only": True,
        "restore_callback_states_from_checkpoint": bool(settings.get("early_stopping_patience")),
        "report_to": ["tensorboard"],
        "disable_tqdm": True,
        "use_cpu": cpu,
        "dataloader_pin_memory": not cpu,
    }
    return {name: value for name, value in found.items() if value is not None}


def _by_epoch(settings: dict[str, Any]) -> dict[str, Any]:
    """Evaluations and checkpoints so many times an epoch, as a share of all steps."""
    found = {}
    for kind in ("eval", "save"):
        times = settings.get(f"{kind}s_per_epoch")
        if times:
            found[f"{kind}_steps"] = 1 / (times * (settings.get("num_epochs") or 1))
            found[f"{kind}_strategy"] = "steps"
    return found


def _order(settings: dict[str, Any]) -> str:
    by_length = "group_by_length" if settings.get("group_by_length") else "random"
    return _ORDERS.get(settings.get("order", ""), by_length)


def output_of(settings: dict[str, Any]) -> Path:
    """The folder that a training fills."""
    return Path(settings["output_dir"])
