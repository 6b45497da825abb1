"""What the worker counted and measured of itself while it was asked, read from its /metrics."""

import urllib.request
from dataclasses import dataclass, field

Hits = dict[str, dict[str, int]]  # by output rule, by what it did

_HITS = "oneday_rule_hits_total"  # of a sample: the parser takes _total off its family's name
# By our name, the gauge it is in.
_MEMORY = {
    "resident_bytes": "oneday_worker_memory_peak_bytes",
    "card_bytes": "oneday_gpu_memory_bytes",
}


@dataclass
class Measured:
    """The worker's own figures since it started.

    Attributes:
        rules: how often each output rule did what.
        memory: the most that the worker's process held, ``resident_bytes`` of the machine's memory
            and ``card_bytes`` of the card's (0 without one); a figure it does not tell is not
            there.
    """

    rules: Hits = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def with_earlier(self, other: "Measured") -> "Measured":
        """These figures and those of a worker before it: counts added up, of memory the most."""
        rules = {rule: dict(steps) for rule, steps in other.rules.items()}
        for rule, steps in self.rules.items():
            now = rules.setdefault(rule, {})
            now.update({step: count + now.get(step, 0) for step, count in steps.items()})
        memory = dict(other.memory)
        for name, size in self.memory.items():
            memory[name] = max(size, memory.get(name, 0))
        return Measured(rules, memory)


def measured(url: str) -> Measured:
    """The figures of a worker.

    Args:
        url: its base URL.

    Raises:
        OSError: it does not answer.
    """
    # No proxy: one set for the network must not get requests for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/metrics", timeout=30) as reply:
        return parse(reply.read().decode())


def parse(text: str) -> Measured:
    """The figures in Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    found = Measured()
    gauges = {gauge: name for name, gauge in _MEMORY.items()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == _HITS:
                steps = found.rules.setdefault(sample.labels["rule"], {})
                steps[sample.labels["step"]] = int(sample.value)
            elif name := gauges.get(sample.name):
                found.memory[name] = int(sample.value)
    return found
