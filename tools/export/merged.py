"""What the merged model answers: perplexity, greedy text, tokens, and what ends an answer."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from serve.text import TextCodec
from tools.console import each
from tools.data import tokens
from tools.data.tokens import Row
from tools.files import read_json
from tools.run.folder import Run
from tools.stages import divergence
from tools.stages.divergence import Told
from tools.stages.loading import load

TEXTS = 200  # held-out texts that must be read as the same tokens


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the merged model says of the rows, which llama.cpp is held against.

    Attributes:
        file: its log-probabilities, as ``divergence.record`` writes them.
        vocabulary: words of each.
        told: by row.
    """

    file: Path
    vocabulary: int
    told: list[Told]


@dataclasses.dataclass(frozen=True)
class Merged:
    """The merged model's own answers.

    Attributes:
        perplexity: over the labels of ``rows``.
        rows: held-out rows as token ids and labels.
        texts: held-out texts, each with whether special tokens in it are read as such (a chat's
            template writes them, a BOS, too), and ``tokens`` their ids as the worker reads them.
        tokens: see ``texts``.
        prompts: token ids.
        greedy: the likeliest ids after each prompt.
        gaps: the lead of the best logit over the second at each of them, as a share of its lead
            over the mean of all.
        bos: its id, None where the tokenizer has none.
        eos: its id.
        ends: ids that end an answer.
        add_bos: whether a prompt gets a BOS.
        chat_template: its text, empty where there is none.
        reference: what it says of ``rows``, place by place; None: only perplexity is compared.
    """

    perplexity: float
    rows: list[Row]
    texts: list[tuple[str, bool]]
    tokens: list[list[int]]
    prompts: list[list[int]]
    greedy: list[list[int]]
    gaps: list[list[float]]
    bos: int | None
    eos: int | None
    ends: list[int]
    add_bos: bool
    chat_template: str
    reference: Reference | None = None


def ask(run: Run, prompts: list[list[int]], rows: list[Row], steps: int, file: Path) -> Merged:
    """Load the merged model and ask it.

    Args:
        run: its merge stage is done.
        prompts: token ids.
        rows: for the perplexity.
        steps: tokens of greedy text.
        file: gets its log-probabilities.
    """
    folder = run.output("merge")
    net = load(folder, run.recipe.hardware.device)
    found = [
        _greedy(net, prompt, steps)
        for prompt in each(prompts, len(prompts), "greedy text of merged", "prompt")
    ]
    texts = _texts(run)
    codec = tokens.codec_of(folder)
    with file.open("wb") as sink:
        told = divergence.record(net, rows, sink, "perplexity of merged")
    labels = sum(one.labels for one in told)
    return Merged(
        perplexity=divergence.perplexity(sum(one.loss for one in told), labels),
        rows=rows,
        texts=texts,
        tokens=[_ids(codec, text, chat) for text, chat in texts],
        prompts=prompts,
        greedy=[ids for ids, _ in found],
        gaps=[gaps for _, gaps in found],
        **words(folder),
        reference=Reference(file, net.get_output_embeddings().weight.shape[0], told),
    )


def words(folder: Path) -> dict[str, Any]:
    """Special tokens of a model folder and its chat template, as they are meant."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = read_json(folder / "generation_config.json") or {}
    ends = said.get("eos_token_id", tokenizer.eos_token_id)
    ends = ends if isinstance(ends, list) else [ends]
    return {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "ends": sorted({one for one in (*ends, tokenizer.eos_token_id) if one is not None}),
        "add_bos": _adds_bos(folder, tokenizer.bos_token_id),
        "chat_template": tokenizer.chat_template or "",
    }


def _adds_bos(folder: Path, bos: int | None) -> bool:
    """Whether the worker begins a prompt with a BOS (``serve.text``)."""
    ids = tokens.codec_of(folder).encode_prompt("a").ids
    return bos is not None and bool(ids) and ids[0] == bos


def _texts(run: Run) -> list[tuple[str, bool]]:
    """Held-out rows as text, and whether a chat template wrote them."""
    file = run.output("data") / "validation.jsonl"
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(TEXTS), strict=False)]
    return [
        ("".join(part["text"] for part in row["segments"]), row.get("form") == "chat_template")
        for row in rows
    ]


def _ids(codec: TextCodec, text: str, chat: bool) -> list[int]:
    found = codec.encode_prompt(text, parse_special=chat)
    return list(found.ids[found.lead if chat else 0 :])


def _greedy(net: Any, prompt: list[int], steps: int) -> tuple[list[int], list[float]]:
    """The likeliest id, ``steps`` times, and the lead of each (``Merged.gaps``)."""
    import torch

    ids, past, found, gaps = prompt, None, [], []
    with torch.inference_mode():
        for _ in range(steps):
            out = net(torch.tensor([ids], device=net.device), past_key_values=past, use_cache=True)
            logits = out.logits[0, -1].float()
            best = logits.topk(2)
            found.append(int(best.indices[0]))
            above = best.values[0] - logits.mean()
            gaps.append(float((best.values[0] - best.values[1]) / above))
            ids, past = found[-1:], out.past_key_values
    return found, gaps
