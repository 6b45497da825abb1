"""All of a run on one page: what was ``gathered`` from its folder, and how it is ``drawn``.

Open ``write.py`` first.
"""

from tools.report.write import report

__all__ = ["report"]
