"""What OpenAI's clients send to /v1/completions and /v1/chat/completions.

As in ``serve.contract``, ``null`` is the default; what becomes of fields that are not named here is
in ``serve.openai_fields``.

Of LitServe's own models for its ``OpenAISpec`` the message is taken. Its request knows no ``seed``
and no ``logprobs``, and bounds nothing.
"""

from typing import Annotated, Any, ClassVar

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

from serve.contract import Text, TokenId, encodable
from serve.openai_fields import Fault, fault, refused, unknown
from serve.response_format import as_schema

Prompt = str | tuple[int, ...]

#: Most completions that one request may ask for, over all its prompts.
MOST = 128

#: The names of the most tokens to generate, the newer first: it wins.
_LIMITS = ("max_completion_tokens", "max_tokens")

#: What a chat template gets from the request itself.
TEMPLATE_NAMES = (
    "messages", "tools", "documents", "add_generation_prompt", "continue_final_message",
)  # fmt: skip


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


def _counted(logprobs: Any) -> Any:
    """Chat clients say whether, completions how many: false is none, true is the token's own."""
    return {False: None, True: 0}[logprobs] if isinstance(logprobs, bool) else logprobs


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

    #: What this route alone refuses, with the values that change nothing.
    refuses: ClassVar[dict[str, tuple[Any, ...]]] = {}

    model: str = ""
    n: int = Field(default=1, ge=1, le=MOST)
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    top_k: int = Field(default=0, ge=-1)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**64 - 1)
    best_of: int | None = Field(default=None, ge=1, le=MOST)
    stop: Annotated[list[Annotated[Text, Field(min_length=1)]], BeforeValidator(_listed)] = []
    stop_token_ids: list[TokenId] = []
    min_tokens: int = Field(default=0, ge=0)
    ignore_eos: bool = False
    response_format: Annotated[str | None, PlainValidator(as_schema)] = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}

    @property
    def limit(self) -> int | None:
        """Most tokens to generate; None: to the end of the context."""
        raise NotImplementedError

    @property
    def limit_name(self) -> str | None:
        """The field that says so; None: none does."""
        given = [name for name in _LIMITS if name in self.model_fields_set]
        return given[0] if given else None

    @property
    def ignored(self) -> list[str]:
        """Fields that were sent and that nobody here knows."""
        return unknown((self.model_extra or {}).keys(), self.refuses)

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        found = list(refused(self.model_extra or {}, self.refuses))
        if self.best_of is not None and self.best_of < self.n:
            found.append(fault("best_of", f"must be at least n, which is {self.n}", "too_few"))
        if self.limit is not None and self.min_tokens > self.limit:
            least = f"{self.min_tokens} is more than the {self.limit} of {self.limit_name}"
            found.append(fault("min_tokens", least, "too_many"))
        return found


def _meant_for(body: Any, wanted: str, sent: str, route: str) -> Any:
    """Refuses a body that was sent to the wrong route, and says which is the right one."""
    if isinstance(body, dict) and body.get(wanted) is None and body.get(sent) is not None:
        raise ValueError(f"{sent} is for {route}; this route takes {wanted}")
    return body


class CompletionRequest(Sampling):
    """POST /v1/completions: prompts to continue, or (``echo``, ``max_tokens`` 0) to score."""

    refuses = {"add_special_tokens": (True,)}

    prompt: Annotated[list[Prompt], PlainValidator(_prompts)]
    max_tokens: int = Field(default=16, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: Annotated[int | None, BeforeValidator(_counted)] = Field(default=None, ge=0, le=1000)
    echo: bool = False
    parse_special: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_chat(cls, body: Any) -> Any:
        return _meant_for(body, "prompt", "messages", "/v1/chat/completions")

    @property
    def limit(self) -> int:
        """Most tokens to generate."""
        newer = self.max_completion_tokens
        return self.max_tokens if newer is None else newer

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        name = "n" if self.best_of is None else "best_of"
        each = self.best_of or self.n
        count = len(self.prompt) * each
        many = f"{len(self.prompt)} prompts with {name} = {each} are {count} completions, at most"
        too_many = [fault("prompt", f"{many} {MOST} are made for one request")]
        return super().faults() + (too_many if count > MOST else [])


class ChatRequest(Sampling):
    """POST /v1/chat/completions: messages to answer."""

    # A chat is its template's: the template writes special tokens, and asks for the next message.
    refuses = {"add_special_tokens": (False,), "parse_special": (True,), "echo": (False,)}

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=1000)
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _no_text(cls, body: Any) -> Any:
        return _meant_for(body, "messages", "prompt", "/v1/completions")

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

    def ending(self) -> dict[str, Any]:
        """How ``serve.chat.ChatTemplate.render`` is to end the prompt, and what else it is told."""
        return self.chat_template_kwargs | {
            "add_generation_prompt": self.add_generation_prompt is not False,
            "continue_final_message": self.continue_final_message,
        }

    def chat(self) -> list[dict[str, Any]]:
        """The messages as chat templates read them: their contents as plain texts."""
        return [_plain(message) for message in self.messages]

    def faults(self) -> list[Fault]:
        """What is asked for and not done here, all of it."""
        found = super().faults()
        if self.top_logprobs and not self.logprobs:
            found.append(fault("top_logprobs", "needs logprobs to be true"))
        if self.continue_final_message and self.add_generation_prompt:
            both = "and continue_final_message exclude each other: set one of them to false"
            found.append(fault("add_generation_prompt", both))
        taken = [name for name in self.chat_template_kwargs if name in TEMPLATE_NAMES]
        if taken:
            own = f"{taken[0]} is not one of them: it has a field of its own or is not offered"
            found.append(fault("chat_template_kwargs", own))
        return found


def _plain(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = message.model_dump(exclude_none=True)
    content = found.get("content", "")
    parts = content if isinstance(content, list) else [{"text": content}]
    return found | {"content": "".join(part["text"] for part in parts)}
