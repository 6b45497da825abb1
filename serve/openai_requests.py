"""What OpenAI's clients send to /v1/completions and /v1/chat/completions.

As in ``serve.contract``, ``null`` is the default and unknown fields are ignored; but a field that
would change the answer, and that nothing here honours, is refused unless its value changes nothing.

Of LitServe's own models for its ``OpenAISpec`` the message is taken. Its request knows no ``seed``
and no ``logprobs``, and bounds nothing.
"""

from typing import Annotated, Any

from litserve.specs.openai import ChatMessage
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    field_validator,
    model_validator,
)

from serve.contract import Text, encodable

Fault = dict[str, Any]
Prompt = str | tuple[int, ...]

#: Most completions that one request may ask for, over all its prompts.
MOST = 128

#: Fields that nothing here honours, with the values that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "prediction": (),
    "audio": (),
}


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _prompts(value: Any) -> list[Prompt]:
    """Each of the four shapes that OpenAI allows, as a list of prompts."""
    if isinstance(value, str) or _are_ids(value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError(_SHAPES)
    return [_prompt(one) for one in value]


def _prompt(one: Any) -> Prompt:
    if isinstance(one, str):
        return encodable(one)
    if _are_ids(one):
        return tuple(one)
    raise ValueError("is empty: an empty text starts from BOS" if one == [] else _SHAPES)


def _are_ids(value: Any) -> bool:
    # By type: to isinstance True is an int.
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


_SHAPES = "must be a text, a list of texts, a list of token ids or a list of such lists"


class StreamOptions(BaseModel):
    """How a stream is to be sent."""

    include_usage: bool = False


class Sampling(BaseModel):
    """What both requests share. ``model`` may be anything: one model is served."""

    model_config = ConfigDict(extra="allow")  # kept, so that faults() sees what it must refuse

    model: str = ""
    n: int = Field(default=1, ge=1, le=MOST)
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    top_k: int = Field(default=0, ge=-1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**64 - 1)
    stop: Annotated[list[Annotated[Text, Field(min_length=1)]], BeforeValidator(_listed)] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        extra = self.model_extra or {}
        neutral = _NEUTRAL | {"best_of": (self.n,)}  # the best n of n are all of them
        return [
            fault(name, f"is not offered here; leave it out{_unless(values)}")
            for name, values in neutral.items()
            if name in extra and extra[name] not in values
        ]


class CompletionRequest(Sampling):
    """POST /v1/completions: prompts to continue, or (``echo``, ``max_tokens`` 0) to score."""

    prompt: Annotated[list[Prompt], PlainValidator(_prompts)]
    max_tokens: int = Field(default=16, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=1000)
    echo: bool = False

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        count = len(self.prompt) * self.n
        many = f"{len(self.prompt)} prompts with n = {self.n} are {count} completions, at most"
        too_many = [fault("prompt", f"{many} {MOST} are made for one request")]
        return super().faults() + (too_many if count > MOST else [])


class ChatRequest(Sampling):
    """POST /v1/chat/completions: messages to answer."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=1000)

    @field_validator("messages")
    @classmethod
    def _only_text(cls, messages: list[Any]) -> list[Any]:
        for place, message in enumerate(messages):
            parts = message.content if isinstance(message.content, list) else []
            if other := [part.type for part in parts if part.type != "text"]:
                raise ValueError(f"{place}.content has {other[0]}: only text is read")
        return messages

    @property
    def limit(self) -> int | None:
        """Most tokens to generate; None: to the end of the context."""
        return self.max_completion_tokens or self.max_tokens

    def chat(self) -> list[dict[str, Any]]:
        """The messages as chat templates read them: their contents as plain texts."""
        return [_plain(message) for message in self.messages]

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        lone = self.top_logprobs and not self.logprobs
        missing = [fault("top_logprobs", "needs logprobs to be true")] if lone else []
        return super().faults() + missing


def _plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.model_dump(exclude_none=True)
    content = found.get("content", "")
    parts = content if isinstance(content, list) else [{"text": content}]
    return found | {"content": "".join(part["text"] for part in parts)}


def _unless(values: tuple[Any, ...]) -> str:
    return f" (or {values[0]!r}, which changes nothing)" if values else ""


def fault(field: str, message: str, kind: str = "not_offered") -> Fault:
    """A fault of the body, as FastAPI describes one."""
    return {"loc": ["body", field], "msg": message, "type": kind}
