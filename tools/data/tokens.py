"""Training rows as token ids, read by the very tokenizer code that the worker answers with.

Axolotl's own prompt formats tokenize prompt and answer apart: with SentencePiece-like tokenizers
(Mistral, Llama) every part then gets a space mark of its own, which no served prompt has. So the
text of a row is tokenized whole, and a token is learnt when it begins inside an answer. Axolotl
takes such rows as they are.

Models that are not causal learn an answer at a time (``tools.data.examples``).
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serve.text import TextCodec
from tools.base_model.vocabulary import special_ids
from tools.console import say
from tools.data.examples import Count, Room, examples
from tools.errors import UserError
from tools.files import read_json, write_json
from tools.recipe.kinds import KINDS
from tools.recipe.schema import Recipe
from tools.recipe.written import model_values
from tools.run.folder import Run, digest

#: Token ids, and labels: -100 where nothing is learnt; or a prompt, and the answer with its end.
Row = tuple[list[int], list[int]]
DEFAULT_LENGTH = 512  # of train.sequence_len, Axolotl's
IGNORED = -100  # torch.nn.functional.cross_entropy's default ignore_index


def paths(run: Run) -> dict[str, Path]:
    """Where the tokenized rows of ``train`` and ``validation`` belong: other data, other folder."""
    made_of = [run.fingerprint("data"), model_values(run.recipe.model)]
    if room := room_of(run.recipe):
        made_of.append(vars(room))
    place = run.path / "tokens"
    if place.is_symlink():  # of a trial of a sweep: Axolotl keeps what it prepares by the path
        place = Path(os.path.normpath(run.path / place.readlink()))
    key = digest(made_of)[:12]
    return {name: place / key / f"{name}.jsonl" for name in ("train", "validation")}


def files(run: Run, model: Path) -> dict[str, Path]:
    """The files of ``paths``, written when they are not there.

    Args:
        run: its data stage must be done.
        model: folder of the base model, for its tokenizer.

    Raises:
        UserError: the model has no fast tokenizer, or no row fits its window.
    """
    found = paths(run)
    missing = {
        name: path
        for name, path in found.items()
        if not (path.is_file() and _counts(path).is_file())
    }
    if missing:
        codec, room = codec_of(model), room_of(run.recipe)
        for name, path in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = run.output("data") / f"{name}.jsonl"
            if room is None:
                _write(path, codec, rows)
            else:
                end = special_ids(model, run.recipe.model)["end"]
                _write_examples(path, codec, rows, room, end)
    return found


def room_of(recipe: Recipe) -> Room | None:
    """What fits into a row of a model that learns an answer at a time; None for a causal one."""
    parted = KINDS[recipe.model.kind].parted
    if not parted:
        return None
    wanted = recipe.train.get("sequence_len") or DEFAULT_LENGTH
    return Room(min(wanted, recipe.model.context), parted == "together")


def codec_of(model: Path) -> TextCodec:
    """The tokenizer that rows are made with, as the worker reads it.

    Raises:
        UserError: the folder has no fast tokenizer.
    """
    if not (model / "tokenizer.json").is_file():
        raise UserError(
            f"model: {model} has no tokenizer.json; write one with transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    return TextCodec.load(model)


def read(path: Path, count: int, context: int) -> list[Row]:
    """The first ``count`` rows of a file, each cut to ``context`` tokens.

    Of a model that is not causal they are prompts and answers, which are within its window anyway.
    """
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return [
        (row["prompt_ids"], row["answer_ids"])
        if "answer_ids" in row
        else (row["input_ids"][:context], row["labels"][:context])
        for row in rows
    ]


def learnt_share(path: Path) -> float:
    """Share of a file's tokens that are learnt, 0 to 1; as counted when ``files`` wrote it."""
    counts = read_json(_counts(path))
    return float(counts["learnt"] / max(counts["tokens"], 1))


def _counts(path: Path) -> Path:
    """Where the numbers of a file's tokens are kept."""
    return path.with_suffix(".counts.json")


def encode(
    codec: TextCodec, segments: list[dict[str, Any]], chat: bool = False
) -> dict[str, list[int]]:
    """One row for Axolotl: ``input_ids``, ``labels`` and ``attention_mask``, EOS learnt at the end.

    Args:
        codec: the model's tokenizer.
        segments: ``{"text": str, "label": bool}`` in order; only labelled ones are learnt.
        chat: they were written by the model's chat template: special tokens in them are read as
            such, and a BOS is the template's to write, as /v1/chat/completions has it.
    """
    text = "".join(segment["text"] for segment in segments)
    ids, starts = codec.encode_spans(text, parse_special=chat)
    if chat:
        lead = sum(start < 0 for start in starts)
        ids, starts = ids[lead:], starts[lead:]
    labels = [
        token if learnt else IGNORED
        for token, learnt in zip(ids, _learnt(segments, starts), strict=True)
    ]
    if labels:
        labels[0] = IGNORED  # nothing stands before it that it could be told from
    # What a template ends an answer with may be EOS itself.
    if codec.eos_id is not None and not (chat and ids[-1:] == [codec.eos_id]):
        ids, labels = [*ids, codec.eos_id], [*labels, codec.eos_id]
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


def _learnt(segments: list[dict[str, Any]], starts: list[int]) -> Iterator[bool]:
    """Whether each token begins inside a labelled segment; BOS begins before all."""
    ends, position = [], 0
    for segment in segments:
        position += len(segment["text"])
        ends.append((position, bool(segment["label"])))
    for start in starts:
        yield start >= 0 and next((label for end, label in ends if start < end), False)


def _write_examples(path: Path, codec: TextCodec, rows: Path, room: Room, end: int) -> None:
    temporary, count = path.with_suffix(".tmp"), Count()
    with rows.open(encoding="utf-8") as source, temporary.open("w", encoding="utf-8") as target:
        for line in source:
            for made, lost in examples(codec, json.loads(line)["segments"], room, end):
                count.add(made, lost)
                if made is not None:
                    target.write(json.dumps(made.row()) + "\n")
    if said := count.said(room.window):
        say(f"train: {path.stem}: {said}")
    if not count.examples:
        raise UserError(
            f"train.sequence_len: no answer of {rows} fits {room.window} tokens with its prompt; "
            "raise it, or take shorter rows"
        )
    temporary.replace(path)
    write_json(_counts(path), vars(count))


def _write(path: Path, codec: TextCodec, rows: Path) -> None:
    temporary, counts = path.with_suffix(".tmp"), {"tokens": 0, "learnt": 0}
    with rows.open(encoding="utf-8") as source, temporary.open("w", encoding="utf-8") as target:
        for line in source:
            row = json.loads(line)
            row = encode(codec, row["segments"], row.get("form") == "chat_template")
            counts["tokens"] += len(row["labels"])
            counts["learnt"] += sum(label != IGNORED for label in row["labels"])
            target.write(json.dumps(row) + "\n")
    temporary.replace(path)
    # Last: rows without their counts are written anew.
    write_json(_counts(path), counts)
