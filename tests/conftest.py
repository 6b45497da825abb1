"""What holds for all tests."""

import os
import sys
from typing import Any

import pytest
from absl import logging as absl_logging
from hypothesis import settings

# A slow machine is no fault of what is tested: no example has a deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

#: Folders whose files share servers or finished runs: one process takes all of a folder, and the
#: longest come first, so that no process works on long after the others have ended.
TOGETHER = ("tests/e2e/", "tests/contract/", "tests/benchmarks/")

# Axolotl, imported behind absl, closes what sys.stderr is then: the file that pytest captures in
# (findings/axolotl-0.21-closes-a-redirected-stderr.sh). This one absl leaves alone.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many threads as processes times cores would wait for each other; the models are tiny.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What one process of several runs at a time: a file, or one of those folders.

    By a scheduler of our own: pytest-xdist 3.8's ``loadgroup`` writes its groups into a field that
    pytest 9.2 reads no more, and spreads every test by itself (pytest-dev/pytest-xdist#1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByRoom(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False  # as sorted below, not by the number of tests
    return ByRoom(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those folders first; all else stays in its order."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _place(item.nodeid))


def _group(name: str) -> str:
    return next((folder for folder in TOGETHER if name.startswith(folder)), name.split("::")[0])


def _place(name: str) -> int:
    group = _group(name)
    return TOGETHER.index(group) if group in TOGETHER else len(TOGETHER)
