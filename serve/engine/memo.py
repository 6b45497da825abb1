"""What an encoder made of the prompts that were asked last."""

from collections import OrderedDict

import torch

Prompt = tuple[int, ...]


class Memo:
    """States by prompt; the ones asked for last are kept, up to a bound.

    An encoder reads both ways: one changed token changes every state, so that only equal prompts
    share anything.

    Args:
        most: bytes that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._states: OrderedDict[Prompt, torch.Tensor] = OrderedDict()

    def get(self, prompt: Prompt) -> torch.Tensor | None:
        """``[tokens, width]``, or None."""
        states = self._states.get(prompt)
        if states is not None:
            self._states.move_to_end(prompt)
        return states

    def put(self, prompt: Prompt, states: torch.Tensor) -> None:
        """Keeps them; those unused for longest go where there is no room."""
        former = self._states.pop(prompt, None)
        self._bytes += states.nbytes - (0 if former is None else former.nbytes)
        self._states[prompt] = states
        while self._bytes > self._most:
            self._bytes -= self._states.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forgets everything."""
        self._states.clear()
        self._bytes = 0
