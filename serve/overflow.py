"""What happens to a prompt that leaves no room for its completion."""

import dataclasses
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from serve.examples import examples
from serve.text import PromptTokens


@dataclass(frozen=True)
class Fields:
    """What a request on /v1 calls its fields.

    Attributes:
        prompt: the one that has the prompt.
        limit: the one that says how many tokens to make at most; None: none was sent.
    """

    prompt: str
    limit: str | None


class ContextOverflow(ValueError):
    """Prompt and completion are longer than the context; the message says the figures.

    Args:
        length: of the prompt, tokens.
        new: tokens asked for.
        context: most tokens of both together.
    """

    def __init__(self, length: int, new: int, context: int) -> None:
        self.length, self.new, self.context = length, new, context
        super().__init__(
            f"the prompt has {length} tokens and max_new_tokens is {new}: together {length + new},"
            f" the context holds {context}; shorten the prompt by {length + new - context} tokens"
            " or ask for fewer new ones"
        )

    def as_openai(self, prompt: str, limit: str | None) -> str:
        """The same in the sentence that OpenAI's clients recognise.

        Args:
            prompt: the field that has the prompt.
            limit: the field that says how many tokens are asked for; None: none was sent.
        """
        known = f"This model's maximum context length is {self.context} tokens. However,"
        if limit is None and prompt == "messages":
            return (
                f"{known} your messages resulted in {self.length} tokens. Please reduce the length"
                " of the messages."
            )
        return (
            f"{known} you requested {self.length + self.new} tokens ({self.length} in the {prompt},"
            f" {self.new} in the completion). Please reduce the length of the {prompt} or"
            f" {limit or 'max_tokens'}."
        )


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
        raise ContextOverflow(length, max_new_tokens, context)
    new = min(max_new_tokens, max(context - length, context // 2))
    dropped = max(0, length + new - context)
    head = prompt.lead + prompt.written
    kept = prompt.ids[:head] + prompt.ids[head + dropped :]
    texts = prompt.texts[: prompt.written] + prompt.texts[prompt.written + dropped :]
    return Fitted(dataclasses.replace(prompt, ids=kept, texts=texts), new, dropped)


def fit_examples(
    prompt: str,
    encode: Callable[[str], PromptTokens],
    max_new_tokens: int,
    context: int,
    overflow: str,
) -> Fitted:
    """The same for a text: whole leading examples go first, an instruction before them stays.

    Half an example misleads a model that reads all of its prompt at once. Only when the question
    alone is too long are tokens cut, and so they are where the blocks of a prompt do not begin
    alike (a text of several paragraphs) and leaving some out would give half of the room away.

    Args:
        prompt: the text.
        encode: gives its tokens.
        max_new_tokens: tokens asked for.
        context: most tokens of both together.
        overflow: ``truncate_left`` or ``error``.

    Raises:
        ContextOverflow: it does not fit and ``overflow`` is ``error``.
    """
    made = encode(prompt)
    room = context - min(max_new_tokens, context // 2)
    if len(made.ids) <= room or overflow == "error":
        return fit(made, max_new_tokens, context, overflow)
    parts = examples(prompt)
    fewest = bisect_left(
        range(len(parts.starts) - 1), True, key=lambda n: len(encode(parts.without(n)).ids) <= room
    )
    left = encode(parts.without(fewest))
    if not parts.labelled and 2 * len(left.ids) < room:
        left = made
    fitted = fit(left, max_new_tokens, context, overflow)
    dropped = len(made.ids) - len(left.ids)
    return dataclasses.replace(fitted, dropped=dropped + fitted.dropped)
