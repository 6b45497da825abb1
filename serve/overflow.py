"""What happens to a prompt that leaves no room for its completion."""

import dataclasses
from dataclasses import dataclass

from serve.text import PromptTokens


class ContextOverflow(ValueError):
    """Prompt and completion are longer than the context; the message says the figures."""


@dataclass(frozen=True)
class Fitted:
    """A prompt that fits.

    Attributes:
        prompt: what is left of it.
        max_new_tokens: what is left of the tokens asked for.
        dropped: tokens cut from the prompt's head.
    """

    prompt: PromptTokens
    max_new_tokens: int
    dropped: int


def fit(prompt: PromptTokens, max_new_tokens: int, context: int, overflow: str) -> Fitted:
    """Makes prompt and completion fit the context.

    ``truncate_left`` keeps BOS and the prompt's tail, where the question is. A completion longer
    than the room left may take at most half of the context from the prompt.

    Args:
        prompt: the tokens.
        max_new_tokens: tokens asked for.
        context: most tokens of both together.
        overflow: ``truncate_left`` or ``error``.

    Raises:
        ContextOverflow: it does not fit and ``overflow`` is ``error``.
    """
    length = len(prompt.ids)
    if length + max_new_tokens <= context:
        return Fitted(prompt, max_new_tokens, 0)
    if overflow == "error":
        raise ContextOverflow(
            f"the prompt has {length} tokens and max_new_tokens is {max_new_tokens}: together"
            f" {length + max_new_tokens}, the context holds {context}; shorten the prompt by"
            f" {length + max_new_tokens - context} tokens or ask for fewer new ones"
        )
    new = min(max_new_tokens, max(context - length, context // 2))
    dropped = max(0, length + new - context)
    head = prompt.lead + prompt.written
    kept = prompt.ids[:head] + prompt.ids[head + dropped :]
    return Fitted(dataclasses.replace(prompt, ids=kept), new, dropped)
