"""Axolotl's process from both sides: ours starts and reads it, our plugin decides inside it.

Open ``child.py`` first; ``job.py`` and ``plugin.py`` run in Axolotl's process.
"""

from tools.axolotl.child import QUANTIZATION, Event, Overdue, as_yaml, call, render

__all__ = ["QUANTIZATION", "Event", "Overdue", "as_yaml", "call", "render"]
