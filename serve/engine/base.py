"""What an engine is: token ids in, scored tokens out. Everything behind the HTTP worker.

The worker knows only this module. An engine may run one request at a time, batch continuously, or
hand over to vLLM (its own event loop in a thread): it takes requests from any thread, answers
through futures, and owns stop matching and detokenizing so that it can end a request at once.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:  # recipes are checked with these classes, where tokenizers is not wanted
    from serve.engine.grammar import Grammar, Grammars
    from serve.text import TextCodec

FinishReason = Literal["eos", "stop", "length"]


class EngineError(RuntimeError):
    """The engine could not answer this request; its message may be shown to the client."""


class BadGrammar(EngineError):
    """The form that the request wants of its answer cannot be followed; the message says why."""


class DeadlineExceeded(EngineError):
    """The request's deadline passed before its answer was complete."""


@dataclass(frozen=True)
class GenRequest:
    """One completion to generate.

    Attributes:
        id: unique among the requests in flight.
        prompt: token ids, at least one unless ``max_new_tokens`` is 0.
        lead: ids at the front of ``prompt`` that are not its text (BOS); they are never echoed.
        max_new_tokens: 0 generates nothing.
        temperature: at most ``serve.contract.GREEDY_TEMPERATURE`` is argmax, ties to the lowest id.
        top_k: sample among the k likeliest; 0 or less: no limit.
        top_p: sample among the likeliest tokens that hold this much probability, 0 to 1.
        seed: of this request's own generator: what runs beside it changes nothing.
        candidates: how many likeliest tokens are reported at each place.
        echo: give the prompt's tokens too, scored where the model can (``ModelInfo.unscored``).
        stops: strings that end the text; they may span tokens, special ones included (as they are
            written), and are cut off.
        ends: more token ids that end the answer, beside the model's EOS.
        ignore_eos: the model's EOS does not end it.
        min_tokens: nothing but the deadline ends it before so many are there.
        deadline: ``time.monotonic()`` by which the answer must be there.
        adapter: name of the LoRA adapter that answers; None: the model itself.
        grammar: what the answer must follow, of the engine's own ``grammars``; None: nothing.
        enough: asked with the new text after each token whether more of it would change nothing.
        shown: told, after each token, the new text that no stop sequence can take back any more.
    """

    id: str
    prompt: tuple[int, ...]
    lead: int = 0
    max_new_tokens: int = 50
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    candidates: int = 1
    echo: bool = False
    stops: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    deadline: float = float("inf")
    adapter: str | None = None
    grammar: "Grammar | None" = None
    enough: Callable[[str], bool] | None = None
    shown: Callable[[str], None] | None = None

    def ending(self, eos_ids: frozenset[int]) -> frozenset[int]:
        """The tokens that end this answer, given the model's own."""
        return frozenset(self.ends) | (frozenset() if self.ignore_eos else eos_ids)


@dataclass(frozen=True)
class GenToken:
    """One token of an answer.

    Attributes:
        id: vocabulary id.
        text: what it adds to the text (empty for a part of a character).
        logprob: natural log of its probability in the model's own distribution, -9999 to 0; under
            a grammar, in that of the tokens that it allows.
        candidates: (name, logprob) of the likeliest tokens, best first, no name twice.
        name: the token's own among the candidates, see ``serve.text.TextCodec.names``.
    """

    id: int
    text: str
    logprob: float
    candidates: tuple[tuple[str, float], ...]
    name: str = ""


@dataclass(frozen=True)
class GenResult:
    """A finished completion.

    Attributes:
        tokens: new tokens up to the end: no EOS, nothing of a stop sequence.
        finish_reason: ``eos``, ``stop`` (a stop sequence) or ``length``.
        prompt: under echo the prompt's tokens without its lead; the first has logprob 0 and no
            candidates, because nothing that belongs to the text precedes it.
        end: the token that ended it, such as EOS, its text as it is written; no part of the text.
    """

    tokens: tuple[GenToken, ...]
    finish_reason: FinishReason
    prompt: tuple[GenToken, ...] = field(default=())
    end: GenToken | None = None


@dataclass(frozen=True)
class ModelInfo:
    """What is being served.

    Attributes:
        name: the model folder's name.
        engine: the engine's name in the recipe.
        device: ``cpu`` or ``cuda:0``.
        dtype: of the weights that compute.
        quantization: method of the stored weights, or ``none``.
        parameters: number of weights.
        context: most tokens of prompt and completion together.
        unscored: why the tokens of a prompt have no logprobs; empty: they have.
    """

    name: str
    engine: str
    device: str
    dtype: str
    quantization: str
    parameters: int
    context: int
    unscored: str = ""


@dataclass(frozen=True)
class EngineStats:
    """What an engine is doing and has done since it was loaded.

    Attributes:
        running: requests that are being generated.
        waiting: requests that wait for room.
        steps: forward passes.
        prompt_tokens: prompt tokens of all requests begun.
        reused_tokens: of them, those whose keys and values were there already (shared prefixes).
        new_tokens: tokens generated.
        prefix_hits: requests that reused some.
        cache_tokens: size of the KV cache in tokens; 0 where there is no fixed one.
        kept_tokens: tokens of prompts, most of them over, whose keys and values are kept for others
            that begin alike.
    """

    running: int = 0
    waiting: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    prefix_hits: int = 0
    cache_tokens: int = 0
    kept_tokens: int = 0


class Engine(Protocol):
    """A loaded model that answers requests.

    Attributes:
        text: the tokenizer its token ids belong to.
        info: what is loaded.
    """

    text: "TextCodec"
    info: ModelInfo

    @property
    def grammars(self) -> "Grammars | None":
        """Compiles what answers must follow; None: this engine makes none follow anything."""

    def submit(self, request: GenRequest) -> Future[GenResult]:
        """Queues a request; returns at once, from any thread.

        The future ends with a result, is cancelled by :meth:`cancel`, or fails with
        :class:`EngineError` (or :class:`DeadlineExceeded`). A request that fails harms no other.
        """

    def cancel(self, request_id: str) -> None:
        """Ends a request soon (before its next step); unknown ids are ignored."""

    def heartbeat(self) -> float:
        """Seconds since the last progress; 0 when idle, infinite when the engine is dead."""

    def stats(self) -> EngineStats:
        """Counters and gauges; cheap, from any thread."""

    def close(self) -> None:
        """Cancels what is in flight and frees the model's thread; the engine is then dead."""
