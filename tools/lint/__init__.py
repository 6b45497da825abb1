"""Would a folder build, start and be scored? It is read, not run.

Open ``linter.py`` first: ``reading/`` parses a submission, ``rules/`` finds what is wrong with it.
"""

from tools.lint.finding import Finding
from tools.lint.linter import lint

__all__ = ["Finding", "lint"]
