"""Encoder and decoder: a prompt is read once, then answered token by token with a cache."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from serve.config import ServeConfig
from serve.engine import memory
from serve.engine.likewise import alike, stack
from serve.engine.loading import LoadedModel
from serve.engine.loop import Sequence as Row
from serve.engine.memo import Memo, Prompt
from serve.engine.rows import Rows
from serve.startup import StartError
from serve.windows import window

#: Bytes of encoder states that are kept for prompts that come again.
MEMO_BYTES = 64 * 2**20


class EncoderDecoder:
    """A :class:`serve.engine.conditional.Net` of an encoder and a decoder.

    What a published ``generation_config.json`` forces (a first and a last token, beams, no n-gram
    twice) is no part of the model's distribution and is not done.

    Args:
        loaded: the model.

    Raises:
        StartError: the model does not say what its answers start from.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._model: Any = loaded.model
        self._loaded, config = loaded, loaded.model.config
        self._start = _start_id(loaded.model)
        self._trail, self._padding = loaded.text.trail, config.pad_token_id or 0
        self._window = window(config.to_dict()) or 2**31
        self._like = torch.empty(0, dtype=loaded.model.dtype, device=loaded.model.device)
        self._positions = torch.empty(0)
        self._memo = Memo(MEMO_BYTES)
        positions = getattr(self._model.get_decoder(), "embed_positions", None)
        if positions is not None:
            self._place_rows(positions)

    def room(self, config: ServeConfig) -> tuple[int, int]:
        """Takes memory for the answers; returns how many at a time, of how many tokens each."""
        model = self._model.config
        self._layers = getattr(model, "num_decoder_layers", None) or model.decoder_layers
        inner = model.num_heads * model.d_kv if hasattr(model, "d_kv") else model.d_model
        # Twice two: keys and values, of what is read and of what is said.
        token_bytes = 2 * 2 * self._layers * inner * self._like.itemsize
        count, context = memory.slots(self._loaded, token_bytes, config)
        self._most = 1 if config.deterministic else count
        self._rows = Rows(self._layers, self._most)
        return self._most, context

    def cost(self, prompt: Prompt) -> int:
        """Tokens to be computed before its answer begins."""
        return 0 if self._memo.get((*prompt, *self._trail)) is not None else len(prompt)

    def forget(self) -> None:
        """Drops all that was computed."""
        self._rows = Rows(self._layers, self._most)
        self._memo.clear()

    @torch.inference_mode()
    def advance(self, rows: Sequence[Row]) -> tuple[torch.Tensor, list[int]]:
        """See :class:`serve.engine.conditional.Net`."""
        self._rows.keep(set(rows))
        there = set(self._rows.keys)
        fresh = [row for row in rows if row not in there]
        logits = [self._step()] if there else []
        shared: list[int] = []
        if fresh:
            begun, shared = self._join(fresh)
            logits.append(begun)
        made = torch.cat(logits) if len(logits) > 1 else logits[0]
        keys = self._rows.keys
        if keys != list(rows):  # where one has left, the last has its place
            places = {key: place for place, key in enumerate(keys)}
            made = made[[places[row] for row in rows]]
        return made, shared

    def _step(self) -> torch.Tensor:
        """One more token of each row that is there; ``[rows, vocabulary]``."""
        rows = self._rows
        cache = rows.cache()
        said, read = rows.masks(self._like)
        self._positions = torch.tensor(rows.lengths, device=self._like.device)
        tokens = [[row.tokens[-1]] for row in rows.keys]
        # Of the prompts only the shape is looked at: their keys and values are in the cache.
        nothing = self._like.new_zeros(len(rows), 1, self._model.config.d_model)
        logits, _ = self._decode(tokens, nothing, read, cache, said)
        rows.stepped()
        return logits

    def _join(self, rows: Sequence[Row]) -> tuple[torch.Tensor, list[int]]:
        """The first token of each new row, and the lengths of prompts that were known."""
        prompts = [(*row.request.prompt, *self._trail) for row in rows]
        states, shared = self._encoded(prompts)
        lengths = [len(prompt) for prompt in prompts]
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        hidden = nn.utils.rnn.pad_sequence(states, batch_first=True)
        self._positions = torch.zeros(len(rows), dtype=torch.long, device=self._like.device)
        start = [[self._start]] * len(rows)
        logits, cache = self._decode(start, hidden, mask.long().to(hidden.device))
        self._rows.join(rows, lengths, cache)
        return logits, [length - len(self._trail) for length in shared]

    def _encoded(self, prompts: Sequence[Prompt]) -> tuple[list[torch.Tensor], list[int]]:
        """Encoder states of each prompt, and the lengths of those that were not computed for it."""
        known = {prompt: self._memo.get(prompt) for prompt in prompts}
        fresh = [prompt for prompt, states in known.items() if states is None]
        for group in alike([len(prompt) for prompt in fresh]):
            chosen = [fresh[index] for index in group]
            ids, mask = stack(chosen, self._padding, self._window, self._like.device)
            hidden = self._model.get_encoder()(input_ids=ids, attention_mask=mask)[0]
            for prompt, states in zip(chosen, hidden, strict=True):
                known[prompt] = states[: len(prompt)].clone()  # a view would keep the whole group's
                self._memo.put(prompt, known[prompt])
        shared = list(prompts)
        for prompt in fresh:
            shared.remove(prompt)  # one of each has paid for it
        return [known[prompt] for prompt in prompts], [len(prompt) for prompt in shared]

    def _decode(
        self,
        tokens: list[list[int]],
        hidden: torch.Tensor,
        read: torch.Tensor,
        cache: EncoderDecoderCache | None = None,
        said: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, EncoderDecoderCache]:
        """One pass of the decoder; the logits and the cache with what it has added."""
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=read,
            decoder_input_ids=torch.tensor(tokens, device=hidden.device),
            decoder_attention_mask=said,
            past_key_values=cache,
            use_cache=True,
        )
        return output.logits[:, -1].float(), output.past_key_values

    def _place_rows(self, embedding: nn.Module) -> None:
        """Gives every row a position of its own; transformers has one for the whole batch."""

        def before(module: Any, given: Any, named: dict[str, Any]) -> Any:
            return given, named | {"position_ids": self._positions}

        def after(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
            return output.transpose(0, 1)  # it takes them for one row's

        embedding.register_forward_pre_hook(before, with_kwargs=True)
        embedding.register_forward_hook(after)


def _start_id(model: Any) -> int:
    """What every answer starts from, unseen."""
    said = (model.config, getattr(model, "generation_config", None))
    starts = (getattr(config, "decoder_start_token_id", None) for config in said)
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise StartError(
            "config.json has no decoder_start_token_id, from which every answer starts; write the"
            " one that the model was trained with (T5: pad_token_id, BART: eos_token_id)"
        )
    return int(start)
