"""What holds for all tests."""

import os

import pytest
from hypothesis import settings

# A slow machine is no fault of what is tested: no example has a deadline.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

#: Folders whose files share servers or finished runs: one process takes all of a folder, and the
#: longest come first, so that no process works on long after the others have ended. In the one
#: whole run so far both processes took files of e2e all the same: why is not known.
TOGETHER = ("tests/e2e/", "tests/contract/", "tests/benchmarks/")

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many threads as processes times cores would wait for each other; the models are tiny.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What one process runs (``-n 2 --dist loadgroup``): a file, or one of those folders."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item.nodeid)))
    items.sort(key=lambda item: _place(item.nodeid))


def _group(name: str) -> str:
    return next((folder for folder in TOGETHER if name.startswith(folder)), name.split("::")[0])


def _place(name: str) -> int:
    group = _group(name)
    return TOGETHER.index(group) if group in TOGETHER else len(TOGETHER)
