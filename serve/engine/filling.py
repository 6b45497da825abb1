"""Mask filling: ``[CLS] prompt answer-so-far [MASK] [SEP]``, and the mask is the next token.

The end of an answer is ``[SEP]`` at the mask, so the scores are a proper chain from left to right:
the probabilities of all that may come next sum to one. An encoder reads both ways, so nothing of a
pass is of use to the next one: each token costs a pass over everything.
"""

from collections.abc import Sequence
from typing import Any

import torch

from serve.config import ServeConfig
from serve.engine.likewise import alike, stack
from serve.engine.loading import LoadedModel
from serve.engine.loop import Sequence as Row
from serve.engine.memo import Prompt
from serve.startup import StartError
from serve.windows import window


class MaskFilling:
    """A :class:`serve.engine.conditional.Net` of an encoder with a masked-LM head.

    Args:
        loaded: the model.

    Raises:
        StartError: its tokenizer has no mask.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        if loaded.text.mask_id is None:
            raise StartError(
                "the tokenizer has no mask token, which is what an encoder answers at; set"
                " mask_token in tokenizer_config.json"
            )
        self._model: Any = loaded.model
        self._behind = (loaded.text.mask_id, *loaded.text.trail)
        self._context = loaded.info.context
        config = loaded.model.config
        self._padding, self._window = config.pad_token_id or 0, window(config.to_dict()) or 2**31
        self._places = torch.empty(0, dtype=torch.long)
        # Between the encoder and its head: a head costs more than a layer, and only one place of
        # each row is looked at.
        self._model.base_model.register_forward_hook(self._only_masks)

    def room(self, config: ServeConfig) -> tuple[int, int]:
        """Answers at a time, and tokens of each: nothing is kept between passes."""
        return (1 if config.deterministic else config.max_batch), self._context

    def cost(self, prompt: Prompt) -> int:
        """Nothing is computed before the first token."""
        return 0

    def forget(self) -> None:
        """There is nothing."""

    @torch.inference_mode()
    def advance(self, rows: Sequence[Row]) -> tuple[torch.Tensor, list[int]]:
        """See :class:`serve.engine.conditional.Net`."""
        asked = [(*row.tokens, *self._behind) for row in rows]
        different = list(dict.fromkeys(asked))
        made: dict[Prompt, torch.Tensor] = {}
        for group in alike([len(one) for one in different]):
            chosen = [different[index] for index in group]
            made |= zip(chosen, self._fill(chosen), strict=True)
        return torch.stack([made[one] for one in asked]), _shared(rows)

    def _fill(self, sequences: Sequence[Prompt]) -> torch.Tensor:
        """``[sequences, vocabulary]``: the logits at the mask of each."""
        device = self._model.device
        ids, mask = stack(sequences, self._padding, self._window, device)
        places = [len(sequence) - len(self._behind) for sequence in sequences]
        self._places = torch.tensor(places, device=device)
        logits: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).logits
        return logits[:, 0].float()

    def _only_masks(self, module: Any, given: Any, output: Any) -> Any:
        rows = torch.arange(len(self._places), device=self._places.device)
        output["last_hidden_state"] = output["last_hidden_state"][rows, self._places][:, None]
        return output


def _shared(rows: Sequence[Row]) -> list[int]:
    """Lengths of the prompts that begin in this pass beside an equal one."""
    begun = [tuple(row.tokens) for row in rows if len(row.tokens) == len(row.request.prompt)]
    shared = list(begun)
    for prompt in dict.fromkeys(begun):
        shared.remove(prompt)
    return [len(prompt) for prompt in shared]
