"""The organizers' procedure with a submission, and more strictly: build, start, ask, stop.

Open ``rehearsal.py`` first.
"""

from tools.rehearse.rehearsal import Options, rehearse

__all__ = ["Options", "rehearse"]
