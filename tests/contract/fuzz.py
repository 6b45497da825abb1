"""Fuzzes a server by its own OpenAPI document: ``python -m tests.contract.fuzz --cases 10000``.

Half of the cases follow the document and half break it. Each answer must have a documented status
below 500 with the documented type, headers and schema, and what follows the document must not be
refused (/decode may: which ids there are depends on the tokenizer).
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tools.console import each

#: The routes that take a body.
ROUTES = ("/process", "/tokenize", "/decode")

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

#: Cases sent at once.
WORKERS = 4

#: Cases of one run of hypothesis, which gets slower as it remembers more of them.
ROUND = 250


class Counts(Counter[tuple[str, str, int]]):
    """How often each (route, mode, status) came."""


def fuzz(url: str, cases: int, start: int = 0) -> Counts:
    """Sends at least so many cases, spread evenly over routes and modes.

    Args:
        url: of a server whose model is tiny and whose context is short.
        cases: how many.
        start: first seed; the same seed draws the same cases.

    Returns:
        How often each (route, mode, status) came.

    Raises:
        AssertionError: an answer broke a rule; the smallest such case, with a curl command.
    """
    share = -(-cases // (len(ROUTES) * len(MODES)))
    rounds = -(-share // ROUND)
    jobs = itertools.product(ROUTES, MODES, range(start, start + rounds))
    # Processes, because hypothesis loses its way in threads.
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        sent = [pool.submit(_round, url, *job, -(-share // rounds)) for job in jobs]
        done = each(as_completed(sent), len(sent), "fuzz", "round")
        return sum((one.result() for one in done), Counts())


def _round(url: str, route: str, mode: GenerationMode, number: int, cases: int) -> Counts:
    """Runs of hypothesis over one route until so many cases are sent."""
    document = requests.get(url + "/openapi.json", timeout=30).json()
    strategy = schemathesis.openapi.from_dict(document)[route]["POST"].as_strategy(mode)
    acceptable = mode is GenerationMode.POSITIVE and route != "/decode"
    counts = Counts()

    @seed(number)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(case=strategy)
    def one(case: Case) -> None:
        response = case.call(base_url=url, timeout=120)
        counts[route, mode.value, response.status_code] += 1
        accepted = acceptable and not _rounded_to_a_bound(case.body)
        case.validate_response(response, checks=[*CHECKS, *[positive_data_acceptance] * accepted])

    try:
        while counts.total() < cases:
            one()
    except BaseException as error:  # those of schemathesis do not cross to another process
        raise AssertionError(f"{route} {mode.value} {number}: {error}") from None
    return counts


def _rounded_to_a_bound(body: Any) -> bool:
    """Whether the seed may be out of bounds: schemathesis compares in doubles, which are coarser.

    To them -(2**63) - 1 is as much as the minimum, 2**64 as much as the maximum.
    """
    found = body.get("seed") if isinstance(body, dict) else None
    return isinstance(found, int | float) and float(found) in (-(2.0**63), 2.0**64)


def main() -> int:
    """Starts a server and fuzzes it; 1 if a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    from tests.contract.servers import launch  # torch: not for the processes started above

    with tempfile.TemporaryDirectory() as folder, launch("fuzzed", Path(folder)) as server:
        server.wait_ready(120)
        begin = time.monotonic()
        try:
            counts = fuzz(server.url, arguments.cases, arguments.seed)
        except AssertionError as error:
            print(f"error: {error}\n{server.log.read_text()[-3000:]}", file=sys.stderr)
            return 1
    for (route, mode, status), count in sorted(counts.items()):
        print(f"{route:10} {mode:9} {status} {count:6}")
    print(f"{counts.total()} cases in {time.monotonic() - begin:.0f} s, no rule broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
