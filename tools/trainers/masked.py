"""Encoders as answerers: what stands at a mask behind the question and the answer so far.

``[CLS] question a1 … a(i-1) [MASK] [SEP]``: the mask's token is ``ai``, or the answer's end. So an
answer is a chain from left to right, as everywhere else, and training shows exactly what serving
asks. In training one place of an answer is drawn for each epoch; an evaluation looks at all places.
"""

import random
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tools.trainers.answering import AnswerTrainer, Batch, Settings, read, rows
from tools.trainers.arguments import arguments

#: How often an answer's end is drawn: it is learnt at once, and would be half of a letter's places.
END = 0.1


class Gather:
    """Leaves of a batch's hidden states the one at each row's mask, before the head sees them.

    The head then computes ``[rows, 1, vocabulary]`` logits, not one for every token of the row.

    Args:
        body: the encoder below the head.

    Attributes:
        where: the masks' places, ``[rows]``.
    """

    where: torch.Tensor

    def __init__(self, body: Any) -> None:
        body.register_forward_hook(self)

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        """The hook."""
        hidden = output.last_hidden_state
        at = torch.arange(len(hidden), device=hidden.device)
        output.last_hidden_state = hidden[at, self.where].unsqueeze(1)
        return output


class MaskedTrainer(AnswerTrainer):
    """Transformers' Trainer with the loss at the masks."""

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._gather = Gather(inner.base_model)

    def scores(self, model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        """At each row's mask."""
        self._gather.where = inputs.pop("where")
        logits: torch.Tensor = model(**inputs).logits
        return logits.squeeze(1)


class Places(torch.utils.data.Dataset[dict[str, Any]]):
    """An example for each answer: one of its places, another one in each epoch.

    Args:
        examples: prompts and answers, as they stand in a file.
        ids: ``mask``, and ``trail``, what the tokenizer puts behind a text.
        seed: of what is drawn.

    Attributes:
        epoch: the present one; with seed and row it decides the place, whoever asks and when.
    """

    def __init__(
        self, examples: list[dict[str, list[int]]], ids: dict[str, Any], seed: int
    ) -> None:
        self._examples, self._ids, self._seed = examples, ids, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._examples[index]
        draw = random.Random(f"{self._seed}/{index}/{self.epoch}")
        end = len(row["answer_ids"]) - 1
        told = not end or draw.random() < END
        return at_place(row, end if told else draw.randrange(end), self._ids)


class Epochs(TrainerCallback):
    """Tells the examples which epoch it is."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Also in the middle of one, where a training goes on."""
        self._places.epoch = int(state.epoch or 0)


def at_place(row: dict[str, list[int]], place: int, ids: dict[str, Any]) -> dict[str, Any]:
    """What the model is asked of one place of an answer.

    Args:
        row: with ``prompt_ids``, and ``answer_ids`` up to the end's.
        place: counted from 0.
        ids: ``mask``, and ``trail``, what the tokenizer puts behind a text.
    """
    answer = row["answer_ids"]
    before = [*row["prompt_ids"], *answer[:place]]
    shown = [*before, ids["mask"], *ids["trail"]]
    return {"input_ids": shown, "where": len(before), "labels": answer[place]}


def make(settings: Settings, model: Any) -> MaskedTrainer:
    """The trainer of a model."""
    ids = settings["special_ids"]
    places = Places(rows(settings["train_rows"]), ids, settings["seed"])

    def collate(batch: list[dict[str, Any]]) -> Batch:
        asked = read([row["input_ids"] for row in batch], ids["pad"])
        rest = {name: torch.tensor([row[name] for row in batch]) for name in ("where", "labels")}
        return {**asked, **rest}

    return MaskedTrainer(
        model,
        TrainingArguments(**arguments(settings)),
        data_collator=collate,
        train_dataset=places,
        eval_dataset=every_place(settings["validation_rows"], ids),
        callbacks=[Epochs(places)],
    )


def every_place(path: str, ids: dict[str, Any]) -> list[dict[str, Any]]:
    """Every place of every answer of a file."""
    return [
        at_place(row, place, ids) for row in rows(path) for place in range(len(row["answer_ids"]))
    ]
