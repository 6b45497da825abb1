"""The organizers' score: of published results, HELM suites and runs; and what would raise it.

Open ``scoring.py`` first; ``ranking.py`` is the formula.
"""

from tools.score.scoring import as_json, collect, render, score, what_if

__all__ = ["as_json", "collect", "render", "score", "what_if"]
