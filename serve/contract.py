"""The wire contract of /process, /tokenize, /decode and /health: the source of openapi.json.

Two vocabularies are taken: that of the challenge's published document (``num_samples``, ``top_k``,
``seed``) and that of HELM's HTTP client (``num_return_sequences``, ``top_k_per_token``, ``top_p``,
``echo_prompt``, ``stop_sequences``). Every field but the prompt is optional, ``null`` means the
default, and unknown fields are ignored: one refused request costs a whole HELM scenario.

``python -m serve.contract [FILE]`` writes the OpenAPI document (openapi.json by default).
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

#: Below this a temperature means argmax. HELM sends 1e-7 for "greedy".
GREEDY_TEMPERATURE = 1e-5

#: What a logprob is raised to where the model gives a token no chance at all (JSON has no -inf).
LOGPROB_FLOOR = -9999.0


def encodable(text: str) -> str:
    """Refuses lone surrogates: JSON can carry them, no tokenizer can read them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} is a lone surrogate (half a UTF-16 pair): send valid Unicode"
        ) from None
    return text


Text = Annotated[str, AfterValidator(encodable)]
TokenId = Annotated[int, Field(ge=0, strict=True)]  # strict: no "7", no true


class _Request(BaseModel):
    """What all three requests share: ``null`` is the default, unknown fields are ignored.

    Attributes:
        ignored: names of the fields that were, for a header of the answer.
    """

    _sent: tuple[str, ...] = PrivateAttr(default=())

    @property
    def ignored(self) -> list[str]:
        """Names of the fields that were sent and are not ours."""
        return [name for name in self._sent if name not in _names(type(self))]

    @model_validator(mode="wrap")
    @classmethod
    def _note_names(cls, body: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        made = read(body)
        if isinstance(body, dict):
            made._sent = tuple(name for name, value in body.items() if value is not None)
        return made

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


def _names(kind: type[BaseModel]) -> set[str]:
    """All names that a model reads its fields by."""
    found: set[str] = set()
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        found |= set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {name}
    return found


class ProcessRequest(_Request):
    """One prompt to continue, or (``echo_prompt`` with ``max_new_tokens`` 0) to score."""

    prompt: Text = Field(description="The text to continue. May be empty.")
    num_samples: int = Field(
        default=1,
        ge=1,
        le=128,
        validation_alias=AliasChoices("num_samples", "num_return_sequences"),
        description="Number of completions; also read as `num_return_sequences`.",
    )
    max_new_tokens: int = Field(
        default=50, ge=0, description="Most tokens to generate; 0 only scores the prompt."
    )
    top_k: int = Field(
        default=0,
        ge=-1,
        description="Sample among the k likeliest tokens only; 0 or -1: among all of them. The"
        " published default is 200, but HELM never sends this field and must be sampled from the"
        " model's own distribution, so here the default is off.",
    )
    top_p: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Sample among the likeliest tokens that hold this much probability.",
    )
    temperature: float = Field(
        default=0.8,
        ge=0,
        allow_inf_nan=False,
        description="At most 1e-5 means the likeliest token.",
    )
    seed: int | None = Field(
        default=None,
        ge=-(2**63),
        le=2**64 - 1,  # what a torch.Generator takes
        description="Makes sampling repeatable; completion i of several uses seed + i.",
    )
    echo_prompt: bool = Field(
        default=False,
        description="Put the prompt's own text, tokens and logprobs before the new ones.",
    )
    top_k_per_token: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="How many candidates `top_logprob` reports for a token. Not a sampling top-k.",
    )
    stop_sequences: list[Annotated[Text, Field(min_length=1)]] = Field(
        default=[], description="The text ends before the first of these; they may span tokens."
    )


class Token(BaseModel):
    """One token of the text; the texts of all tokens, joined, are the text."""

    text: str
    logprob: float = Field(
        le=0,
        allow_inf_nan=False,
        description="Of the model's own distribution (untempered, not truncated), natural log.",
    )
    top_logprob: dict[str, float] = Field(
        description="The likeliest candidates at this place. Special tokens are there as they are"
        " written, a part of a character as `bytes:\\xf0`, one without a name as `token_id:7`."
    )


class Completion(BaseModel):
    """One of several completions."""

    text: str
    tokens: list[Token]
    logprob: float = Field(le=0, allow_inf_nan=False, description="Sum over `tokens`.")
    finish_reason: Literal["eos", "stop", "length"]


class ProcessResponse(Completion):
    """The completion (the first one, where several were asked for)."""

    request_time: float = Field(
        ge=0, description="Seconds from receipt to answer, queueing included."
    )
    truncated_tokens: int = Field(
        ge=0, description="Prompt tokens dropped from its head because the context was full."
    )
    completions: list[Completion] | None = Field(
        default=None, description="All completions, only when `num_samples` is more than 1."
    )


class TokenizeRequest(_Request):
    """A text to turn into token ids."""

    text: Text = Field(validation_alias=AliasChoices("text", "prompt"))
    add_special_tokens: SkipJsonSchema[bool] = True  # beside ``prompt``, see ``serve.remote``
    truncation: bool = Field(
        default=True, description="Cut to `max_length` tokens; false never cuts."
    )
    max_length: int = Field(default=2048, ge=0)

    @property
    def is_remote(self) -> bool:
        """Asked in vLLM's words, see ``serve.remote``."""
        return "prompt" in self._sent and "text" not in self._sent


class TokenizeResponse(BaseModel):
    """The text's token ids; no special token is added."""

    tokens: list[int]
    request_time: float = Field(ge=0, description="Seconds.")


class DecodeRequest(_Request):
    """Token ids, as /tokenize gives them."""

    tokens: list[TokenId]


class DecodeResponse(BaseModel):
    """Their text; special tokens such as BOS are left out."""

    text: str
    request_time: float = Field(ge=0, description="Seconds.")


class Health(BaseModel):
    """Whether requests are answered, and by what."""

    model_config = ConfigDict(extra="allow")
    status: Literal["loading", "ready", "draining", "failed"]


class FieldFault(BaseModel):
    """What is wrong with one field of a request."""

    loc: list[str | int] = Field(description='Where, such as `["body", "seed"]`.')
    msg: str
    type: str


class Refusal(BaseModel):
    """The body of every 422."""

    detail: list[FieldFault]


class Problem(BaseModel):
    """The body of every other refusal and failure."""

    detail: str


def _problem(description: str) -> dict[str, Any]:
    """A response that is a :class:`Problem`."""
    return {"model": Problem, "description": description}


Responses = dict[int | str, dict[str, Any]]

#: What any route with a body may answer instead.
REFUSALS: Responses = {
    408: _problem("The body was not complete within `body_s`."),
    413: _problem("The body has more bytes than `max_body`."),
    422: {"model": Refusal, "description": "The request is not valid; each fault names its field."},
}

#: What /process may answer instead.
FAILURES: Responses = REFUSALS | {
    500: _problem("The model failed, or the worker died with this request; others are not harmed."),
    503: _problem("`max_queue` requests are in flight, or the server is draining.")
    | {"headers": {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}},
    504: _problem("No answer within `deadline_s`."),
}


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of the contract.

    Returns:
        A JSON-ready dict. The routes are stubs named as in the published document, so that the
        operation ids (``process_request_process_post``, ``tokenize_tokenize_post``) are the same.
    """
    from fastapi import FastAPI

    app = FastAPI(title="oneday worker", version="1")

    @app.post("/process", responses=FAILURES)
    def process_request(input_data: ProcessRequest) -> ProcessResponse:
        raise NotImplementedError  # serve.app has the real one

    @app.post("/tokenize", responses=REFUSALS)
    def tokenize(input_data: TokenizeRequest) -> TokenizeResponse:
        raise NotImplementedError  # serve.app has the real one

    @app.post("/decode", responses=REFUSALS)
    def decode(input_data: DecodeRequest) -> DecodeResponse:
        raise NotImplementedError  # serve.app has the real one

    @app.get("/health", responses={503: {"model": Health, "description": "Not ready."}})
    def health() -> Health:
        raise NotImplementedError  # serve.app has the real one

    return app.openapi()


def write_openapi(path: Path) -> None:
    """Writes the document to ``path``, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(openapi_document(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    write_openapi(Path(sys.argv[1] if len(sys.argv) > 1 else "openapi.json"))
