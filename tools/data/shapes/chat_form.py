"""Turns in the model's chat template, by the code that serves chats: what is learnt is then asked.

The prompt of a learnt turn is the text that /v1/chat/completions makes of the messages before it,
to the letter. Learnt is the answer with the token that the template ends it with; what the template
writes behind that token is the next prompt's.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve.chat import ChatTemplate, NoPrompt
from serve.text import TextCodec
from tools.data.reading.fault import Fault
from tools.data.shapes.base import Exchange, Segment

PLAIN = "leave form: chat_template out"


class ChatForm:
    """One model's form.

    Args:
        template: its chat template.
        specials: its special tokens, as they are written.
        codec: its tokenizer; None: it has no fast one.

    Attributes:
        end: what the template ended the last answer with, blanks before it included.
    """

    def __init__(
        self, template: ChatTemplate, specials: Sequence[str], codec: TextCodec | None = None
    ) -> None:
        self._template, self._specials, self._codec = template, specials, codec
        self.end = ""

    @classmethod
    def load(cls, folder: Path) -> "ChatForm":
        """The form of the model in a folder; ``is_there`` tells whether it has one."""
        path, template = folder / "tokenizer.json", ChatTemplate.load(folder)
        if not template.is_there or not path.is_file():
            return cls(template, ())
        added = json.loads(path.read_text("utf-8"))["added_tokens"]
        specials = tuple(one["content"] for one in added if one["special"])
        return cls(template, specials, TextCodec.load(folder))

    @property
    def is_there(self) -> bool:
        """Whether the model has a chat template."""
        return self._template.is_there

    def segments(self, lead: str, exchanges: Sequence[Exchange], learn: str) -> list[Segment]:
        """A conversation's text, and what of it is learnt.

        Args:
            lead: the system's words; empty: none.
            exchanges: in order; the last one is answered.
            learn: ``all`` answers or the ``last``.

        Returns:
            Not learnt and learnt texts in turn; none where nothing is to be learnt.

        Raises:
            Fault: the template refuses these messages, or its answers cannot be told from the rest.
        """
        self._refuse_specials(lead, exchanges)
        messages = [{"role": "system", "content": lead}] if lead else []
        found: list[Segment] = []
        for at, (user, answer) in enumerate(exchanges):
            if user:
                messages.append({"role": "user", "content": user})
            # A greeting that answers nothing is no answer to learn, nor is an empty one.
            if user and answer and (learn == "all" or at == len(exchanges) - 1):
                prompt = self._render(messages, asks=True)
                messages.append({"role": "assistant", "content": answer})
                found += [
                    (False, _after("".join(text for _, text in found), prompt)),
                    (True, self._learnt(prompt, self._render(messages, asks=False), answer)),
                ]
            elif answer:
                messages.append({"role": "assistant", "content": answer})
        return found

    def _render(self, messages: list[dict[str, Any]], asks: bool) -> str:
        try:
            return self._template.render(messages, asks)
        except NoPrompt as error:
            raise Fault(f"{error}; take them out of the file, or {PLAIN}") from None

    def _learnt(self, prompt: str, whole: str, answer: str) -> str:
        """The answer as the template writes it, with the token that ends it."""
        written = whole.removeprefix(prompt)
        at = written.find(answer)
        if at < 0 or len(written) == len(whole):
            raise Fault(
                f"the chat template does not write the answer {answer[:40]!r} as it is behind "
                f"what it asks with ({prompt[-20:]!r}), so serving would not; {PLAIN}"
            )
        rest = written[at + len(answer) :]
        ends = [rest.index(one) + len(one) for one in self._specials if one in rest]
        self.end = rest[: min(ends, default=0)]
        learnt = written[: at + len(answer)] + self.end
        self._refuse_joined(prompt, learnt)
        return learnt

    def _refuse_joined(self, prompt: str, learnt: str) -> None:
        """What is served ends where the answer begins; a token may not reach over that."""
        if self._codec is None:
            return
        asked = self._codec.encode_spans(prompt, parse_special=True)[0]
        if self._codec.encode_spans(prompt + learnt, parse_special=True)[0][: len(asked)] != asked:
            raise Fault(
                f"the chat template asks with {prompt[-12:]!r}, whose last token the answer "
                f"{learnt[:12]!r} would change, so the prompt that is served is another; {PLAIN}"
            )

    def _refuse_specials(self, lead: str, exchanges: Sequence[Exchange]) -> None:
        """Serving reads a special token in a message as one: no row may teach what that does."""
        for text in (lead, *(one for exchange in exchanges for one in exchange)):
            for token in self._specials:
                if token in (text or ""):
                    raise Fault(
                        f"a message holds {token}, a special token of the model, which the chat "
                        "template's form would read as one; take it out of the row"
                    )


def _after(before: str, prompt: str) -> str:
    """What a prompt adds to the text before it."""
    if not prompt.startswith(before):
        raise Fault(
            "the chat template writes an earlier answer otherwise when more turns follow, so one "
            "row cannot hold both; set WHERE.learn to last"
        )
    return prompt[len(before) :]
