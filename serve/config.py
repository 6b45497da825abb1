"""The recipe's ``serve`` section: all that the worker needs to know besides the model folder."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Match:
    """Which requests an output rule is for; what is not set matches everything.

    Attributes:
        prompt: regular expression, searched in the raw prompt (``re.MULTILINE``).
        max_new_tokens: the request asks for exactly this many new tokens.
        min_blank_lines: the prompt has at least so many blank lines (few-shot prompts have some).
        max_blank_lines: the prompt has at most so many blank lines (zero-shot prompts have few).
    """

    prompt: str | None = None
    max_new_tokens: int | None = None
    min_blank_lines: int | None = None
    max_blank_lines: int | None = None


@dataclass
class Rule:
    """What is done to the requests it matches and to their answers, see ``serve.rules``.

    Attributes:
        match: which requests; the first rule that matches a request is the one applied.
        adapter: name of the LoRA adapter (of ``serve.adapters``) that answers.
        ensemble: names of several, "" for the model itself: each is asked, and the answer whose
            tokens are the likeliest on average is given, see ``serve.ensemble``.
        wrap: prompt template; ``{prompt}`` stands for the request's prompt.
        stop: strings that end the text, beside those of the request.
        cut: regular expressions; the text ends before the first match of any.
        extract: regular expression; the text becomes its group 1.
        format: template of the extracted text; ``{x}`` stands for it.
    """

    match: Match = field(default_factory=Match)
    adapter: str | None = None
    ensemble: list[str] = field(default_factory=list)
    wrap: str | None = None
    stop: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    extract: str | None = None
    format: str | None = None


@dataclass
class ServeConfig:
    """How the worker answers.

    Attributes:
        engine: the implementation behind the engine interface (``serve.engine.base.Engine``).
        weights: which folder of the run is served.
        dtype: what computes; ``auto`` is float32 on the CPU and the stored type on a GPU. ``int8``
            is for a CPU: weights of linear layers in 8 bits.
        host: address to listen on; LitServe takes 127.0.0.1, 0.0.0.0 or ``::``.
        port: TCP port, 1024 to 65535 (LitServe refuses lower ones).
        context: most tokens of prompt and completion together (the challenge's limit is 2048).
        overflow: what a prompt that leaves no room meets: its head is cut (of a model that reads it
            as a whole, leading examples are left out first), or a 422 with figures.
        chat_overflow: what a chat meets that asks for more new tokens than there is room for: a
            400, or as many as fit and a header that says so.
        parse_special: read special tokens that are written in a prompt as such, not as text.
        max_batch: most requests generated together.
        cache_tokens: bound of the KV cache, tokens over all requests; 0 takes ``max_batch`` times
            ``context``, less where that would be over a quarter of the free memory. On a CPU the
            memory is taken as tokens are written.
        prefill_tokens: most prompt tokens fed in one step, beside the answers that go on; fewer
            while only a few prompts wait.
        deterministic: steps of one fixed shape, so that low-precision answers do not depend on
            what is answered beside them; slower.
        max_queue: most requests in flight; more get 503 and ``Retry-After``.
        max_body: largest request body in bytes; larger ones get 413.
        body_s: seconds within which a body must be there; slower ones get 408.
        deadline_s: seconds after which a request is answered with 504.
        drain_s: seconds that a shutdown waits for the requests it has accepted; as many as
            ``deadline_s``, so that each is answered.
        threads: torch threads for generation on the CPU; 0 = all cores but one, at least one.
        log_prompts: write prompts and answers into the log.
        name: what /v1/models calls the model; empty: as its folder.
        cors: origins whose pages may ask from a browser, such as ``https://chat.example.org``, or
            ``*`` for any.
        adapters: LoRA adapter folders by name, chosen by the rules.
        rules: output rules by name, tried in order.
        capital_letters: an answer of one letter is given as a capital where the model's tokenizer
            knows no capitals: HELM's multiple choice wants them.
    """

    engine: Literal["transformers", "hf-dynamic", "reference", "vllm"] = "transformers"
    weights: Literal["quantized", "merged"] = "quantized"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    host: Literal["127.0.0.1", "0.0.0.0", "::"] = "127.0.0.1"
    port: int = 8080
    context: int = 2048
    overflow: Literal["truncate_left", "error"] = "truncate_left"
    chat_overflow: Literal["error", "shorten"] = "error"
    parse_special: bool = False
    max_batch: int = 32
    cache_tokens: int = 0
    prefill_tokens: int = 256  # 0.13 s on a small model; 1,500 at once would halt answers for 0.7
    deterministic: bool = False
    max_queue: int = 1024  # a refusal costs HELM a scenario: rather a long line
    max_body: int = 16_000_000
    body_s: float = 60.0
    deadline_s: float = 600.0
    drain_s: float = 600.0
    threads: int = 0
    log_prompts: bool = False
    name: str = ""
    cors: list[str] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    capital_letters: bool = True
