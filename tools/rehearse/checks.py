"""What a container is held against; each check says what it saw, or raises why it failed."""

import concurrent.futures
import http.client
import json
import re
import statistics
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from serve.contract import DecodeResponse, Health, ProcessResponse, TokenizeResponse
from tools.rehearse.engines import Container

ORGANIZERS = {"prompt": "The capital of France is "}  # their health check, to the letter
TOGETHER = 30  # requests at once, as they ran HELM
ROUNDS = 4
TIMEOUT_S = 600.0
DRAIN_S = 630.0  # the default of serve.drain_s, and half a minute
ROUND_TRIPS = (" Hello , world .\n", "The capital of France", "  two  spaces\n\n", "naïve 東京 😀")
UNANSWERED = (OSError, http.client.HTTPException)  # what a dead or dying server is met with
# No proxy: one set for the network must not get requests for this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Failed(Exception):
    """A check failed; the message says how."""


class NotTried(Exception):
    """A check could not be made here; the message says why."""


def folder(path: Path) -> str:
    """What the organizers' scripts ask of a folder before they build."""
    named = (p for p in path.rglob("*") if p.name.lower().startswith("dockerfile"))
    found = [p for p in named if p.suffix != ".py"]
    if len(found) != 1:
        raise Failed(
            f"{len(found)} files are named like a Dockerfile: {', '.join(map(str, found))}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", path.name):
        raise Failed(f"{path.name!r} makes no image name; rename the folder: letters, digits, ._-")
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return f"one Dockerfile, {size / 1e6:.2f} MB"


def request(url: str, body: Any = None, timeout: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Status and body of the answer to a GET, or, with a body, to a POST of JSON.

    Raises:
        OSError: there is none.
        HTTPException: it broke off.
    """
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with _OPENER.open(asked, timeout=timeout) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def process(url: str, body: dict[str, Any]) -> ProcessResponse:
    """The answer to one request, held against the contract."""
    return _valid(f"{url}/process", body, ProcessResponse)


def _valid(url: str, body: Any, kind: Any) -> Any:
    from pydantic import ValidationError

    try:
        status, content = request(url, body)
    except UNANSWERED as error:
        raise Failed(f"{url}: no answer: {error}") from None
    if status != 200:
        raise Failed(f"{url}: HTTP {status}: {content[:200].decode(errors='replace')}")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise Failed(f"{url}: not as in openapi.json: {error}") from None


def becomes_ready(container: Container, limit: float) -> str:
    """Waits for /health to say ready, then asks the organizers' question.

    Args:
        container: just started.
        limit: seconds.
    """
    started, seen = time.monotonic(), dict[str, None]()
    while "ready" not in seen:
        if not container.running():
            raise Failed(f"it ended by itself:\n{_tail(container.logs())}")
        if time.monotonic() - started > limit:
            raise Failed(f"not ready after {limit / 60:.0f} minutes; /health: {', '.join(seen)}")
        if status := _health(container.url):
            seen[status] = None
        time.sleep(0.1)
    process(container.url, ORGANIZERS)
    took = time.monotonic() - started
    return f"first answer after {took:.1f} s (/health: {', '.join(seen)})"


def _health(url: str) -> str:
    """What /health says; nothing while nobody listens."""
    try:
        status, content = request(f"{url}/health", timeout=10)
    except UNANSWERED:
        return ""
    try:
        said = Health.model_validate_json(content).status
    except ValueError:
        raise Failed(f"/health: not as in openapi.json: {content[:200]!r}") from None
    if (status == 200) != (said == "ready"):
        raise Failed(f"/health: says {said} with HTTP {status}")
    return said


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-15:])


def contract(url: str) -> str:
    """The other routes, scoring, and the refusal of what is no request."""
    for text in ROUND_TRIPS:
        # HELM sends max_length even where nothing is to be cut.
        body = {"text": text, "truncation": False, "max_length": 1}
        tokens = _valid(f"{url}/tokenize", body, TokenizeResponse).tokens
        back = _valid(f"{url}/decode", {"tokens": tokens}, DecodeResponse).text
        if back != text:
            raise Failed(f"/decode of /tokenize: {text!r} became {back!r}")
    cut = _valid(f"{url}/tokenize", {"text": "a b c d e f", "max_length": 2}, TokenizeResponse)
    if len(cut.tokens) != 2:
        raise Failed(f"/tokenize: max_length 2 gave {len(cut.tokens)} tokens")
    scored = process(url, helm_body("How likely is this?", max_new_tokens=0, echo_prompt=True))
    if scored.text != "How likely is this?" or not scored.tokens:
        raise Failed(f"/process: echo_prompt with max_new_tokens 0 gave {scored.text!r}")
    for wrong in ("{}", '{"prompt": 1}', '{"prompt": "x", "temperature": -1}'):
        status, _ = request(f"{url}/process", json.loads(wrong))
        if status != 422:
            raise Failed(f"/process: {wrong} gave HTTP {status}, not 422")
    return "schema, round trips, truncation, scoring and refusals as in openapi.json"


def helm_body(prompt: str, **changes: Any) -> dict[str, Any]:
    """The eight fields that HELM sends."""
    return {
        "prompt": prompt,
        "temperature": 1e-7,
        "num_return_sequences": 1,
        "max_new_tokens": 16,
        "top_p": 1,
        "echo_prompt": False,
        "top_k_per_token": 5,
        "stop_sequences": ["\n"],
        **changes,
    }


def together(url: str) -> str:
    """Thirty clients at once, several rounds; the same question must get the same answer."""
    prompts = [f"Question: what is {n} plus {n}?\nAnswer:" for n in range(TOGETHER)]

    def timed(prompt: str) -> tuple[str, float]:
        started = time.monotonic()
        return process(url, helm_body(prompt)).text, time.monotonic() - started

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        found = list(pool.map(timed, prompts * ROUNDS))
    took, seconds = time.monotonic() - began, sorted(second for _, second in found)
    answers = {(prompt, text) for prompt, (text, _) in zip(prompts * ROUNDS, found, strict=True)}
    unlike = len(answers) - len(prompts)
    said = f"; {unlike} questions had more than one answer" if unlike else ""
    return (
        f"{len(found)} answers in {took:.1f} s, median {statistics.median(seconds):.2f} s, "
        f"slowest {seconds[-1]:.2f} s, none refused{said}"
    )


def drains(container: Container) -> str:
    """SIGTERM amid requests: all that were accepted are answered, and the exit code is 0."""
    body = helm_body("Once upon a time", max_new_tokens=200, stop_sequences=[], temperature=1)
    with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
        asked = [pool.submit(_answered, container.url, body) for _ in range(TOGETHER)]
        _accepted(container.url, asked)
        waiting = sum(not one.done() for one in asked)
        started = time.monotonic()
        code = container.stop(DRAIN_S)
        took = time.monotonic() - started
        lost = [fault for one in asked if (fault := one.result())]
    if lost:
        raise Failed(f"{len(lost)} of {TOGETHER} accepted requests were lost: {lost[0]}")
    if code != 0:
        raise Failed(f"exit code {code}, not 0, after {took:.1f} s")
    return f"{waiting} requests in flight, all answered; exit code 0 after {took:.1f} s"


def _accepted(url: str, asked: list[Any]) -> None:
    """Waits until all requests are in the server or answered."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = re.search(rb"^oneday_in_flight (\d+)", request(f"{url}/metrics")[1], re.MULTILINE)
        done = sum(one.done() for one in asked)
        if found and int(found[1]) + done >= len(asked):
            return
        time.sleep(0.02)


def _answered(url: str, body: dict[str, Any]) -> str:
    """Why a request was lost; empty when it was answered."""
    try:
        process(url, body)
    except Failed as why:
        return str(why)
    return ""
