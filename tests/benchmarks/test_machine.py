"""Whether others use the machine."""

import subprocess
import sys

from benchmarks.machine import Others, facts

BURN = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"


def test_own_work_is_not_others() -> None:
    child = subprocess.Popen([sys.executable, "-c", BURN])
    with Others() as others:
        child.poll()
        sum(range(10_000_000))
        before = child.poll()
    child.wait()
    assert before is None, "the child must still run when the watch ends"
    used_by_child_and_us = 1.0
    assert others.cores < 2.0 - used_by_child_and_us + 0.5


def test_facts_name_the_machine() -> None:
    found = facts()
    assert found["cpu"] and found["cores"] >= 1 and found["versions"]["torch"]
