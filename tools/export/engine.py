"""Runs in llama.cpp's environment: packs a GGUF, or reads one and answers what is asked of it.

``python engine.py request.json answer.json``. A request is one of

- ``{"pack": {"source", "file", "type", "threads"}}``: write ``file`` in another weight type;
- ``{"ask": {"file", "threads", "texts", "rows", "prompts", "steps", "first"}}``: the answer has the
  file's special tokens and chat template, the ids of ``texts``, the sum of the negative
  log-likelihood of ``rows`` over their labels and how far that is from ``first`` (what the merged
  model says of them), and ``steps`` likeliest ids after each of ``prompts``.

Nothing of this project is imported: the environment has only llama.cpp and numpy.
"""

import contextlib
import ctypes
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import llama_cpp as lib
import numpy as np

BATCH = 512  # tokens computed at once
IGNORED = -100  # labels that are not learnt
WORDS = (3, 4)  # of the levels of ggml those of warnings and errors


def pack(source: str, file: str, type: str, threads: int) -> dict[str, Any]:
    """Write a GGUF in another weight type."""
    params = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{type}")
    params.nthread = threads
    if lib.llama_model_quantize(source.encode(), file.encode(), ctypes.byref(params)):
        raise SystemExit("llama_model_quantize failed")
    return {"packed": file}


@dataclasses.dataclass(frozen=True)
class Compared:
    """Of one row: its loss over its labels, nats; and how far the merged model is.

    Attributes:
        loss: sum of the negative log-likelihood.
        labels: how many there are.
        kl: sum over the places of KL(merged || this), nats.
        same: places with the same likeliest token.
        places: that were compared.
    """

    loss: float
    labels: int
    kl: float
    same: int
    places: int


@dataclasses.dataclass(frozen=True)
class First:
    """What the merged model says of one row.

    Attributes:
        file: its log-probabilities, float16, read from here on.
        vocabulary: words of each place.
        places: which of the row's labels are compared.
        best: its likeliest token at each.
    """

    file: BinaryIO
    vocabulary: int
    places: frozenset[int]
    best: list[int]

    def apart(self, said: Any, at: int) -> tuple[float, bool]:
        """KL of the next place in the file, and whether both take the same token there."""
        own = _log_softmax(np.fromfile(self.file, np.float16, self.vocabulary).astype(np.float64))
        known = own > -np.inf  # what is impossible to the merged model adds nothing
        kl = float((np.exp(own[known]) * (own[known] - said[known])).sum())
        return kl, int(said.argmax()) == self.best[at]


def _log_softmax(logits: Any) -> Any:
    top = logits.max()
    return logits - top - np.log(np.exp(logits - top).sum())


class Asked:
    """A GGUF that is loaded, on the CPU.

    Args:
        file: it.
        threads: that compute.
        context: the longest sequence to come, tokens.
    """

    def __init__(self, file: str, threads: int, context: int) -> None:
        params = lib.llama_model_default_params()
        params.n_gpu_layers = 0
        # As the file has them: turned over for AMX, packed weights end this process at the first
        # token (llama.cpp of llama-cpp-python 0.3.36, a Xeon with amx_int8 in a virtual machine).
        params.use_extra_bufts = False
        self._model = lib.llama_model_load_from_file(file.encode(), params)
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {file}")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self.size = lib.llama_vocab_n_tokens(self._vocab)
        options = lib.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = context, BATCH, BATCH
        options.n_threads = options.n_threads_batch = threads
        # Keys and values unrounded, and no fused kernel: as the merged model is computed in fp32.
        options.type_k = options.type_v = lib.GGML_TYPE_F32
        options.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = lib.llama_init_from_model(self._model, options)
        if not self._context:
            raise SystemExit(f"llama.cpp makes no context of {context} tokens for {file}")
        self._batch = lib.llama_batch_init(BATCH, 0, 1)

    def told(self) -> dict[str, Any]:
        """Special tokens and the chat template, as llama.cpp understands the file."""
        vocab, template = self._vocab, lib.llama_model_chat_template(self._model, None)
        return {
            "bos": lib.llama_vocab_bos(vocab),
            "eos": lib.llama_vocab_eos(vocab),
            "add_bos": bool(lib.llama_vocab_get_add_bos(vocab)),
            "add_eos": bool(lib.llama_vocab_get_add_eos(vocab)),
            "ends": [i for i in range(self.size) if lib.llama_vocab_is_eog(vocab, i)],
            "chat_template": (template or b"").decode(),
            "vocabulary": self.size,
            "parameters": lib.llama_model_n_params(self._model),
        }

    def tokens(self, text: str, chat: bool) -> list[int]:
        """A prompt's ids: BOS where the file adds one, special tokens in the text as plain text.

        Args:
            text: the prompt.
            chat: a template wrote it: special tokens are read as such, and none is added.
        """
        data = text.encode()
        room = len(data) + 8
        found = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocab, data, len(data), found, room, not chat, chat)
        return [int(one) for one in found[: max(count, 0)]]

    def logits(self, ids: Sequence[int], start: int, wanted: set[int]) -> Iterator[tuple[int, Any]]:
        """Position and logits, float32 [vocabulary], of the wanted places of a sequence.

        Args:
            ids: the sequence from ``start`` on.
            start: how many tokens stand before it, computed already; 0 begins anew.
            wanted: places, counted from the sequence's very start.
        """
        if start == 0:
            lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        for begin in range(0, len(ids), BATCH):
            part = ids[begin : begin + BATCH]
            places = range(start + begin, start + begin + len(part))
            self._fill(part, places, wanted)
            if code := lib.llama_decode(self._context, self._batch):
                raise SystemExit(f"llama_decode failed with {code}")
            for i, place in enumerate(places):
                if place in wanted:
                    row = lib.llama_get_logits_ith(self._context, i)
                    yield place, np.ctypeslib.as_array(row, (self.size,))

    def _fill(self, part: Sequence[int], places: range, wanted: set[int]) -> None:
        batch = self._batch
        batch.n_tokens = len(part)
        for i, (token, place) in enumerate(zip(part, places, strict=True)):
            batch.token[i], batch.pos[i] = token, place
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = place in wanted

    def row(self, ids: list[int], labels: list[int], first: "First | None") -> "Compared":
        """What the model says of one row, held against the merged one place by place.

        Args:
            ids: the row.
            labels: as many; IGNORED where nothing is learnt.
            first: what the merged model says of this row; None: only the loss is wanted.
        """
        nexts = {i - 1: label for i, label in enumerate(labels) if label != IGNORED and i}
        loss, kl, same, places = 0.0, 0.0, 0, 0
        for n, (place, row) in enumerate(self.logits(ids, 0, set(nexts))):
            said = _log_softmax(row.astype(np.float64))
            loss -= float(said[nexts[place]])
            if first and n in first.places:
                more, alike = first.apart(said, places)
                kl, same, places = kl + more, same + alike, places + 1
        return Compared(loss, len(nexts), kl, same, places)

    def greedy(self, prompt: list[int], steps: int) -> list[int]:
        """The likeliest token after a prompt, ``steps`` times; nothing ends it."""
        found: list[int] = []
        ids, start = prompt, 0
        for _ in range(steps):
            last = start + len(ids) - 1
            ((_, row),) = self.logits(ids, start, {last})
            found.append(int(row.argmax()))
            ids, start = found[-1:], last + 1
        return found


def ask(
    file: str,
    threads: int,
    texts: list[tuple[str, bool]],
    rows: list[tuple[list[int], list[int]]],
    prompts: list[list[int]],
    steps: int,
    first: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All that is asked of a file."""
    longest = [len(ids) for ids, _ in rows] + [len(prompt) + steps for prompt in prompts]
    began = time.monotonic()
    asked = Asked(file, threads, max(longest, default=8) + 8)
    # Where llama.cpp has other words than the merged model, there is no KL.
    whole = first if first and first["vocabulary"] == asked.size else None
    with _opened(whole) as parts:
        found = [asked.row(*row, next(parts, None)) for row in rows]
    return {
        **asked.told(),
        "tokens": [asked.tokens(*text) for text in texts],
        "loss": sum(one.loss for one in found),
        "labels": sum(one.labels for one in found),
        "apart": [[one.loss, one.kl, one.same, one.places] for one in found] if whole else [],
        "greedy": [asked.greedy(prompt, steps) for prompt in prompts],
        "seconds": time.monotonic() - began,
    }


@contextlib.contextmanager
def _opened(first: dict[str, Any] | None) -> Iterator[Iterator[First]]:
    """What the merged model says, row by row; nothing where it is not known."""
    if first is None:
        yield iter(())
        return
    with Path(first["file"]).open("rb") as file:
        rows = zip(first["places"], first["best"], strict=True)
        yield (First(file, first["vocabulary"], frozenset(at), best) for at, best in rows)


@lib.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    """Warnings and errors; of what llama.cpp tells else there are hundreds of lines a file."""
    if level in WORDS:
        sys.stderr.write(text.decode(errors="replace"))


def main() -> None:
    """Do what the request says."""
    lib.llama_log_set(_log, None)
    lib.llama_backend_init()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    does: dict[str, Callable[..., dict[str, Any]]]
    does = {"pack": pack, "ask": ask}
    ((name, what),) = request.items()
    found = does[name](**what)
    found["engine"] = f"llama-cpp-python {lib.__version__}"
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
