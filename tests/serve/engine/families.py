"""Folders of the families that are no causal models, and plain passes to hold engines against."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from serve.text import TextCodec
from tests import kin

#: Random nets only repeat what they read: heavier layers over the embeddings make them speak.
LAYERS = dict.fromkeys(kin.FAMILIES, 3.0) | {"bart": 20.0, "t5-v1_1": 2.0, "ul2": 2.0}
EMBEDDINGS = dict.fromkeys(kin.FAMILIES, 3.0) | dict.fromkeys(("t5", "t5-v1_1", "ul2"), 0.3)
HEADS = EMBEDDINGS | dict.fromkeys(kin.OWN_HEAD, 2.4)  # smaller to begin with, as large in the end


def speaking(family: str, path: Path, seed: int = 0) -> Path:
    """A folder of the family whose greedy answers vary, with a text for each of its ids."""
    kin.folder(family, path, seed, vocab=0)
    model = plain_model(family, path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(_scale(name)[family])
    model.save_pretrained(path)
    return path


def _scale(name: str) -> dict[str, float]:
    if "lm_head" in name:
        return HEADS
    return EMBEDDINGS if "embed" in name or "shared" in name else LAYERS


def plain_model(family: str, path: Path) -> Any:
    """The model by transformers alone."""
    kind = "Seq2SeqLM" if family in kin.SEQ2SEQ else "MaskedLM"
    return getattr(transformers, f"AutoModelFor{kind}").from_pretrained(path).eval()


@dataclass
class Plain:
    """A family's model by transformers alone: one answer, no batch, no cache, no shortcut."""

    family: str
    model: Any
    text: TextCodec

    @torch.inference_mode()
    def logprobs(self, prompt: tuple[int, ...], new: list[int]) -> torch.Tensor:
        """``[len(new) + 1, vocabulary]``: before each new token, and after the last."""
        if self.family in kin.SEQ2SEQ:
            start = self.model.config.decoder_start_token_id
            rows = self.model(
                input_ids=torch.tensor([[*prompt, *self.text.trail]]),
                decoder_input_ids=torch.tensor([[start, *new]]),
            ).logits[0]
        else:
            rows = torch.cat([self._masked((*prompt, *new[:i])) for i in range(len(new) + 1)])
        return rows.float().log_softmax(-1)

    def _masked(self, before: tuple[int, ...]) -> torch.Tensor:
        ids = [*before, self.text.mask_id, *self.text.trail]
        return self.model(input_ids=torch.tensor([ids])).logits[:, len(before)]

    @torch.inference_mode()
    def generate(self, prompt: tuple[int, ...], most: int) -> list[int]:
        """Greedy tokens of transformers' ``generate``, EOS included."""
        config = self.model.config
        settings = transformers.GenerationConfig(
            max_new_tokens=most,
            decoder_start_token_id=config.decoder_start_token_id,
            eos_token_id=self.text.eos_id,
            pad_token_id=config.pad_token_id,
            suppress_tokens=sorted(self.text.never_answered),
        )
        self.model.generation_config = transformers.GenerationConfig()
        ids = torch.tensor([[*prompt, *self.text.trail]])
        made = self.model.generate(ids, generation_config=settings)
        tokens: list[int] = made[0, 1:].tolist()
        return tokens
