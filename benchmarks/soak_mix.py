"""What a soak sends: requests of all kinds with what must come back."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tokenizers import Tokenizer

from benchmarks.prompts import Writer

#: Checks the JSON of a 200; gives what is wrong with it, or "".
Check = Callable[[Any], str]


@dataclass(frozen=True)
class Attempt:
    """One request.

    Attributes:
        kind: for the count.
        path: route.
        body: of the POST; None is a GET.
        status: what must be answered.
        check: of the answer's JSON; None where it is none of ours.
        hang_up_s: seconds after which the client closes the connection, if there is no answer yet.
    """

    kind: str
    path: str
    body: bytes | None
    status: int = 200
    check: Check | None = None
    hang_up_s: float | None = None


#: Bodies that are refused: route, body, status.
INVALID: tuple[tuple[str, bytes, int], ...] = (
    ("/process", b"", 422),
    ("/process", b"{", 422),
    ("/process", b"[]", 422),
    ("/process", b"{}", 422),
    ("/process", b'{"prompt": 5}', 422),
    ("/process", b'{"prompt": "\\ud800"}', 422),
    ("/process", b'{"prompt": "x", "temperature": NaN}', 422),
    ("/process", b'{"prompt": "x", "temperature": -1}', 422),
    ("/process", b'{"prompt": "x", "max_new_tokens": -1}', 422),
    ("/process", b'{"prompt": "x", "max_new_tokens": "many"}', 422),
    ("/process", b'{"prompt": "x", "seed": 100000000000000000000}', 422),
    ("/process", b'{"prompt": "x", "stop_sequences": [""]}', 422),
    ("/process", b'{"prompt": "x", "num_samples": 0}', 422),
    ("/process", b'{"prompt": "x", "top_p": 2}', 422),
    ("/tokenize", b'{"text": 5}', 422),
    ("/decode", b'{"tokens": [-1]}', 422),
    ("/decode", b'{"tokens": [99999999]}', 422),
    ("/nowhere", b"{}", 404),
    ("/health", b"{}", 405),
)

#: A larger body is refused with 413; small, so that sending one costs little.
MAX_BODY = 200_000

#: Kinds and how often they are sent, in percent.
WEIGHTS = {
    "short": 14,
    "long": 4,
    "choice": 20,
    "sums": 8,
    "echo": 8,
    "several": 6,
    "repeated": 8,
    "tokenize": 12,
    "decode": 6,
    "health": 2,
    "metrics": 2,
    "invalid": 5,
    "hang up": 3,
    "over-long": 2,
}


class Mix:
    """Draws requests.

    Args:
        tokenizer: of the served model.
        seed: of all draws.
        context: tokens that the server takes; an over-long prompt has more.
        scale: lengths in the standard mix are multiplied with it, for tiny models.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, context: int, scale: float) -> None:
        self._tokenizer, self._random, self._scale = tokenizer, Random(seed), scale
        self._writer = Writer(tokenizer, f"soak-{seed}")
        self._choices = self._writer.multiple_choice(50, self._length(500), (60, 90))
        self._sums = self._writer.sums(50, 2)
        self._too_long = self._writer.prose(context + 100)
        self._fixed = [self._writer.prose(self._length(60)) for _ in range(8)]
        self._first: dict[str, str] = {}

    def draw(self) -> Attempt:
        """The next request."""
        kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        makers = {
            "tokenize": self._tokenize,
            "decode": self._decode,
            "health": lambda: Attempt("health", "/health", None, check=is_ready),
            "metrics": lambda: Attempt("metrics", "/metrics", None),
            "invalid": self._invalid,
            "hang up": self._hang_up,
            "repeated": self._repeated,
        }
        return makers[kind]() if kind in makers else self._process(kind)

    def long_request(self) -> Attempt:
        """One that is still being answered when the server is told to stop."""
        return self._asked("long", self._writer.prose(30), max_new_tokens=self._length(64))

    def _length(self, tokens: int) -> int:
        return max(8, int(tokens * self._scale))

    def _process(self, kind: str) -> Attempt:
        """A valid /process request of one of the plain kinds."""
        prompts: dict[str, Callable[[], str]] = {
            "short": lambda: self._prose(10, 60),
            "choice": lambda: self._random.choice(self._choices),
            "sums": lambda: self._random.choice(self._sums),
            "echo": lambda: self._prose(20, 200),
            "several": lambda: self._prose(40, 40),
            "long": lambda: self._prose(400, 400),
            "over-long": lambda: self._too_long,
        }
        fields: dict[str, dict[str, Any]] = {
            "short": {"max_new_tokens": 16},
            "choice": {"max_new_tokens": 1, "top_k_per_token": 5},
            "sums": {"max_new_tokens": self._length(150), "stop_sequences": ["\n\n"]},
            "echo": {"max_new_tokens": 0, "echo_prompt": True},
            "several": {"max_new_tokens": 16, "num_samples": 3, "temperature": 0.8, "seed": 5},
            "long": {"max_new_tokens": self._length(128), "temperature": 0.9, "top_p": 0.9},
            "over-long": {"max_new_tokens": 4},
        }
        return self._asked(kind, prompts[kind](), **fields[kind])

    def _prose(self, fewest: int, most: int) -> str:
        return self._writer.prose(self._length(self._random.randint(fewest, most)))

    def _asked(self, kind: str, prompt: str, **fields: Any) -> Attempt:
        body = {"prompt": prompt, "temperature": 1e-7} | fields
        cut = kind == "over-long"
        return Attempt(kind, "/process", _json(body), check=lambda got: wrong(body, got, cut))

    def _repeated(self) -> Attempt:
        """One of a few fixed requests: its answer is always the same, whatever runs beside it."""
        prompt = self._random.choice(self._fixed)
        attempt = self._asked("repeated", prompt, max_new_tokens=12)

        def check(answer: Any) -> str:
            assert attempt.check is not None
            first = self._first.setdefault(prompt, answer.get("text", ""))
            other = f"answered {answer['text']!r}, first {first!r}"
            return attempt.check(answer) or ("" if answer["text"] == first else other)

        return Attempt("repeated", "/process", attempt.body, check=check)

    def _tokenize(self) -> Attempt:
        text = " " + self._writer.prose(self._length(60))
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return Attempt("tokenize", "/tokenize", _json({"text": text}), check=_equals("tokens", ids))

    def _decode(self) -> Attempt:
        text = self._writer.prose(self._length(60))
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return Attempt("decode", "/decode", _json({"tokens": ids}), check=_equals("text", text))

    def _invalid(self) -> Attempt:
        if self._random.random() < 0.1:
            return Attempt("invalid", "/process", _json({"prompt": "x" * MAX_BODY}), 413)
        path, body, status = self._random.choice(INVALID)
        return Attempt("invalid", path, body, status)

    def _hang_up(self) -> Attempt:
        usual = self._process(self._random.choice(["short", "long", "several", "sums"]))
        after = self._random.random() * 0.5
        return Attempt("hang up", usual.path, usual.body, check=usual.check, hang_up_s=after)


def wrong(body: dict[str, Any], answer: Any, cut: bool) -> str:
    """What is wrong with the answer to a valid /process request, or "".

    Args:
        body: the request.
        answer: its answer's JSON.
        cut: whether the prompt's head had to be cut off.
    """
    if bool(answer["truncated_tokens"]) != cut:
        return f"{answer['truncated_tokens']} tokens cut off"
    completions = answer.get("completions") or [answer]
    if len(completions) != body.get("num_samples", 1):
        return f"{len(completions)} completions"
    return next(filter(None, (_fault(body, completion) for completion in completions)), "")


def _fault(body: dict[str, Any], completion: dict[str, Any]) -> str:
    tokens = completion["tokens"]
    if "".join(token["text"] for token in tokens) != completion["text"]:
        return "the tokens' texts are not the text"
    if not all(math.isfinite(token["logprob"]) and token["logprob"] <= 0 for token in tokens):
        return "a logprob is positive or not finite"
    if body.get("echo_prompt"):
        return "" if completion["text"] == body["prompt"] else "the echo is not the prompt"
    if len(tokens) > body["max_new_tokens"]:
        return f"{len(tokens)} new tokens"
    stops = [stop for stop in body.get("stop_sequences", []) if stop in completion["text"]]
    return f"{stops} in the text" if stops else ""


def is_ready(answer: Any) -> str:
    """What is wrong with an answer of /health, or ""."""
    return "" if answer.get("status") == "ready" else f"health: {answer}"


def _equals(key: str, value: Any) -> Check:
    return lambda answer: "" if answer[key] == value else f"{key}: {answer[key]!r}, not {value!r}"


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()
