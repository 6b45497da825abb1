"""Training on answers, an example each: what encoders with a decoder and encoders have in common.

The loss is the cross entropy of the answer's tokens, a mean over all that one optimizer step sees.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, Trainer, set_seed

from tools.day import checkpoints
from tools.day.watch import TOKENS
from tools.recipe.faults import nearest
from tools.recipe.kinds import KINDS, Kind
from tools.trainers import callbacks
from tools.trainers.arguments import output_of
from tools.trainers.token_loss import IGNORED

Settings = dict[str, Any]
Batch = dict[str, Any]
_PEAK = "memory/max_allocated (GiB)"  # Axolotl's name of it


class AnswerTrainer(Trainer):
    """Transformers' Trainer with the loss of answers; a kind says how they are scored.

    Attributes:
        lr_groups: ``train.lr_groups``, parts that have a learning rate of their own.
    """

    lr_groups: Sequence[Mapping[str, Any]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Then it counts the labels of a whole step for us, and does not divide by its batches.
        self.model_accepts_loss_kwargs = True
        self._loss_shifts_labels = False
        self._learnt, self._since = 0, time.monotonic()

    def scores(self, model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        """What the model says of each label's place, ``[*labels.shape, vocabulary]`` logits.

        Args:
            model: as it is trained.
            inputs: a batch without its labels.
            labels: for a decoder, which is shown those that went before.
        """
        raise NotImplementedError

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of one batch, as a share of the step's where the Trainer tells its labels."""
        rest = dict(inputs)
        labels = rest.pop("labels")
        logits = self.scores(model, rest, labels)
        lost = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).float(),
            labels.reshape(-1),
            ignore_index=IGNORED,
            reduction="sum",
        )
        own = (labels != IGNORED).sum()
        if model.training:
            self._learnt += int(own)
        loss = lost / (own if num_items_in_batch is None else num_items_in_batch)
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """With parts at their own rates; the schedule is the same share of each."""
        made: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        names = {id(one): name for name, one in self.model.named_parameters()}
        for group in self.lr_groups:
            _at_own_rate(made, names, group)
        return made

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """With learnt tokens a second, and the card's memory where there is one."""
        if "loss" in logs:
            now = time.monotonic()
            logs[TOKENS] = round(self._learnt / max(now - self._since, 1e-9), 2)
            self._learnt, self._since = 0, now
            if torch.cuda.is_available() and not self.args.use_cpu:
                logs[_PEAK] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
        super().log(logs, *args, **kwargs)


def _at_own_rate(
    made: torch.optim.Optimizer, names: Mapping[int, str], group: Mapping[str, Any]
) -> None:
    """Move what one of ``lr_groups`` names; biases and norms, too, which Axolotl leaves out.

    Raises:
        ValueError: it names nothing that is trained.
    """
    found = False
    for known in list(made.param_groups):
        own = [
            one
            for one in known["params"]
            if any(part in names[id(one)] for part in group["modules"])
        ]
        if not own:
            continue
        found = True
        moved = {id(one) for one in own}
        known["params"] = [one for one in known["params"] if id(one) not in moved]
        made.add_param_group({**known, "params": own, "lr": float(group["lr"])})
    if not found:
        parts = sorted({name.split(".")[0] for name in names.values()})
        raise ValueError(
            f"train.lr_groups: {group['name']}: no trained parameter has one of "
            f"{', '.join(group['modules'])} in its name; the model's parts are {', '.join(parts)}"
        )


def train(settings: Settings, make: Callable[[Settings, Any], AnswerTrainer]) -> None:
    """Train from the newest whole checkpoint on; the adapter, or the model, is left in the folder.

    Args:
        settings: as ``tools.trainers.request`` writes them.
        make: of a kind; gives the trainer of a model.
    """
    set_seed(settings["seed"])  # before the adapter is drawn, too
    kind = KINDS[settings["kind"]]
    model = adapted(loaded(settings, kind), settings, kind)
    trainer = make(settings, model)
    if trainer.args.n_gpu > 1:  # others are not ours: one card trains
        trainer.args._n_gpu = 1
    trainer.lr_groups = settings.get("lr_groups") or ()
    if patience := settings.get("early_stopping_patience"):
        trainer.add_callback(EarlyStoppingCallback(patience))
    callbacks.attach(trainer, shifted=False, told=not settings["new_head"])
    newest = checkpoints.found(output_of(settings))
    trainer.train(resume_from_checkpoint=str(newest[0]) if newest else None)
    model.save_pretrained(output_of(settings))


def loaded(settings: Settings, kind: Kind) -> Any:
    """The base model; in bf16 where only an adapter on it is trained so.

    Raises:
        ValueError: ``overrides_of_model_config`` names nothing that its ``config.json`` has.
    """
    from transformers import AutoConfig

    half = settings.get("bf16") is True and settings.get("adapter")
    options = {"attn_implementation": settings.get("attn_implementation")}
    config = AutoConfig.from_pretrained(settings["base_model"])
    others = settings.get("overrides_of_model_config") or {}
    if wrong := [name for name in others if not hasattr(config, name)]:
        raise ValueError(
            f"train.overrides_of_model_config: {wrong[0]}: {config.model_type} has none"
            f"{nearest(wrong[0], config.to_dict())}"
        )
    for name, value in others.items():
        setattr(config, name, value)
    return kind.loader().from_pretrained(
        settings["base_model"],
        config=config,
        dtype=torch.bfloat16 if half else torch.float32,
        **{name: value for name, value in options.items() if value},
    )


def adapted(model: Any, settings: Settings, kind: Kind) -> Any:
    """The model with a LoRA adapter on it; as it is where its own weights are trained."""
    if not settings.get("adapter"):
        _freeze(model, settings.get("unfrozen_parameters") or ())
        return model
    from peft import LoraConfig, get_peft_model

    linear = settings.get("lora_target_linear")
    whole = [*(settings.get("lora_modules_to_save") or ()), *settings["new_head"]]
    options = {
        "r": settings.get("lora_r"),
        "lora_alpha": settings.get("lora_alpha"),
        "lora_dropout": settings.get("lora_dropout"),
        "use_dora": settings.get("peft_use_dora"),
        "use_rslora": settings.get("peft_use_rslora"),
        "target_modules": "all-linear" if linear else settings.get("lora_target_modules"),
        "modules_to_save": whole or None,
        "exclude_modules": whole or None,  # one part has one of both
    }
    given = {name: value for name, value in options.items() if value is not None}
    return get_peft_model(model, LoraConfig(task_type=kind.task_type, **given))


def _freeze(model: Any, patterns: Sequence[str]) -> None:
    """Of all parameters leave those to be trained whose names begin as a pattern says; none: all.

    Raises:
        ValueError: a pattern fits none.
    """
    named = dict(model.named_parameters())
    fits = {one: [name for name in named if re.match(one, name)] for one in patterns}
    if idle := [one for one, names in fits.items() if not names]:
        parts = sorted({".".join(name.split(".")[:2]) for name in named})
        raise ValueError(
            f"train.unfrozen_parameters: {', '.join(idle)}: no parameter's name begins so; they "
            f"begin with {', '.join(parts)}"
        )
    kept = {name for names in fits.values() for name in names}
    for name, one in named.items():
        one.requires_grad_(not patterns or name in kept)


def rows(path: str) -> list[dict[str, list[int]]]:
    """The examples of a file, as ``tools.data.examples`` makes them."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
    """Lists of ids as one matrix, ``[lists, longest]``, shorter ones filled up behind."""
    longest = max(map(len, lists))
    return torch.tensor([one + [fill] * (longest - len(one)) for one in lists])


def read(lists: list[list[int]], fill: int) -> Batch:
    """What an encoder reads: ids, and which of them are no padding."""
    return {
        "input_ids": padded(lists, fill),
        "attention_mask": padded([[1] * len(one) for one in lists], 0),
    }
