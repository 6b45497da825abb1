"""Encoders with a decoder: the question is read, the answer written, up to its end token."""

from typing import Any

import torch
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

from tools.trainers.answering import AnswerTrainer, Batch, Settings, padded, read, rows
from tools.trainers.arguments import arguments
from tools.trainers.token_loss import IGNORED


class AnswerSeq2SeqTrainer(AnswerTrainer, Seq2SeqTrainer):
    """Transformers' Seq2SeqTrainer with the loss of answers."""

    def scores(self, model: Any, inputs: Batch, labels: torch.Tensor) -> torch.Tensor:
        """The decoder is shown the labels that went before, from the model's own start token on."""
        network = self.accelerator.unwrap_model(model)
        inner = network.get_base_model() if hasattr(network, "get_base_model") else network
        shown = inner.prepare_decoder_input_ids_from_labels(labels=labels)
        logits: torch.Tensor = model(**inputs, decoder_input_ids=shown, use_cache=False).logits
        return logits


def make(settings: Settings, model: Any) -> AnswerSeq2SeqTrainer:
    """The trainer of a model."""
    ids = settings["special_ids"]

    def collate(batch: list[dict[str, list[int]]]) -> Batch:
        asked = read([row["input_ids"] for row in batch], ids["pad"])
        return {**asked, "labels": padded([row["labels"] for row in batch], IGNORED)}

    return AnswerSeq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(**arguments(settings)),
        data_collator=collate,
        train_dataset=examples(settings["train_rows"], ids["trail"]),
        eval_dataset=examples(settings["validation_rows"], ids["trail"]),
    )


def examples(path: str, trail: list[int]) -> list[dict[str, list[int]]]:
    """The examples of a file; ``trail`` is what the tokenizer puts behind a prompt."""
    return [
        {"input_ids": [*row["prompt_ids"], *trail], "labels": row["answer_ids"]}
        for row in rows(path)
    ]
