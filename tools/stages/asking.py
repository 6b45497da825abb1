"""Models of each kind asked of a row: the logits of its answer's tokens, as they are trained.

A row is token ids and labels, as ``tools.data.tokens`` reads it. Of a causal model both are as
long, and a label is told from the place before its own. Of a model with an encoder the ids are the
prompt and the labels the answer with what ends it: an encoder with a decoder reads the prompt and
writes the answer; a masked language model has prompt, what of the answer comes before, a mask, and
the end, in as many passes as the answer has tokens.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from serve.text import TextCodec
from tools.base_model.architecture import of_folder
from tools.data.tokens import IGNORED, Row, codec_of
from tools.errors import UserError
from tools.recipe.kinds import KindName

_TOGETHER = 8  # places of masks that are computed in one pass


class Asking(ABC):
    """How a kind of models is asked. Nothing is kept of a model between two rows."""

    def wanted(self, row: Row) -> list[int]:
        """The tokens that are to be told, by place."""
        return [label for label in row[1] if label != IGNORED]

    @abstractmethod
    def logits(self, net: Any, row: Row) -> Any:
        """fp32 logits [tokens that are to be told, vocabulary], on the model's device."""

    def every(self, net: Any, row: Row) -> Any:
        """The same at all places that the model has logits for, [places, vocabulary]."""
        return self.logits(net, row)


class Causal(Asking):
    """The whole row in one pass."""

    def wanted(self, row: Row) -> list[int]:
        """But the first token: nothing stands before it."""
        return [row[1][at + 1] for at in labelled(row[1])]

    def logits(self, net: Any, row: Row) -> Any:
        """See :class:`Asking`."""
        return self.every(net, row)[labelled(row[1])]

    def every(self, net: Any, row: Row) -> Any:
        """See :class:`Asking`."""
        import torch

        with torch.inference_mode():
            return net(torch.tensor([row[0]], device=net.device)).logits[0].float()


class _Encoded(Asking):
    """What both models with an encoder need.

    Args:
        codec: the tokenizer.
    """

    def __init__(self, codec: TextCodec) -> None:
        self._trail = list(codec.trail)

    def _prompt(self, row: Row) -> list[int]:
        """Without what the tokenizer puts behind it, which rows may have or not."""
        ids, end = row[0], self._trail
        return ids[: -len(end)] if end and ids[-len(end) :] == end else ids


class Conditional(_Encoded):
    """The prompt to the encoder, the answer to the decoder, which shifts it itself."""

    def logits(self, net: Any, row: Row) -> Any:
        """See :class:`Asking`."""
        import torch

        prompt = torch.tensor([[*self._prompt(row), *self._trail]], device=net.device)
        answer = torch.tensor([self.wanted(row)], device=net.device)
        with torch.inference_mode():
            return net(input_ids=prompt, labels=answer).logits[0].float()


class Masked(_Encoded):
    """A mask in place of each token in turn, nothing of the answer behind it.

    Args:
        codec: the tokenizer.

    Raises:
        UserError: it has no mask.
    """

    def __init__(self, codec: TextCodec) -> None:
        super().__init__(codec)
        if codec.mask_id is None:
            raise UserError(
                "model: its tokenizer has no token for a mask ([MASK], <mask>), behind which an "
                "encoder could answer; take the base with its own tokenizer"
            )
        self._mask = codec.mask_id

    def logits(self, net: Any, row: Row) -> Any:
        """See :class:`Asking`."""
        import torch

        prompt, answer = self._prompt(row), self.wanted(row)
        lines = [[*prompt, *answer[:at], self._mask, *self._trail] for at in range(len(answer))]
        parts = [
            self._pass(net, lines[at : at + _TOGETHER], len(prompt) + at)
            for at in range(0, len(lines), _TOGETHER)
        ]
        return torch.cat(parts) if parts else torch.empty(0, net.config.vocab_size)

    def _pass(self, net: Any, lines: list[list[int]], first: int) -> Any:
        """Logits at the masks of a few lines, the first at ``first``, each one place later."""
        import torch

        longest, pad = len(lines[-1]), net.config.pad_token_id or 0
        ids = [[*line, *[pad] * (longest - len(line))] for line in lines]
        seen = [[1] * len(line) + [0] * (longest - len(line)) for line in lines]
        with torch.inference_mode():
            found = net(
                input_ids=torch.tensor(ids, device=net.device),
                attention_mask=torch.tensor(seen, device=net.device),
            ).logits
        rows = torch.arange(len(lines), device=net.device)
        return found[rows, first + rows].float()


def labelled(labels: list[int]) -> list[int]:
    """The places that a causal model's label is told from: each is one before its label's own."""
    return [at - 1 for at, label in enumerate(labels) if at and label != IGNORED]


CAUSAL = Causal()
_OTHERS: dict[KindName, type[Conditional] | type[Masked]] = {
    "seq2seq": Conditional,
    "encoder": Masked,
}


def asking(folder: Path) -> Asking:
    """How the model of a folder is asked: by its kind, with its tokenizer.

    Raises:
        UserError: the folder has no fast tokenizer, or none with a mask where one is needed.
    """
    other = _OTHERS.get(of_folder(folder).name)
    return other(codec_of(folder)) if other else CAUSAL
