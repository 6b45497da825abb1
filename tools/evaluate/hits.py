"""What the worker's output rules did, read from its /metrics."""

import urllib.request

Hits = dict[str, dict[str, int]]  # by rule, by what it did

SAMPLE = "oneday_rule_hits_total"  # of a sample: the parser takes _total off its family's name


def rule_hits(url: str) -> Hits:
    """How often each rule did what, since the worker started.

    Args:
        url: the worker's base URL.

    Raises:
        OSError: it does not answer.
    """
    # No proxy: one set for the network must not get requests for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/metrics", timeout=30) as reply:
        return parse(reply.read().decode())


def parse(text: str) -> Hits:
    """The hits in Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    found: Hits = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == SAMPLE:
                steps = found.setdefault(sample.labels["rule"], {})
                steps[sample.labels["step"]] = int(sample.value)
    return found
