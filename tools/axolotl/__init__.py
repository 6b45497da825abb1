"""Axolotl, which trains causal models: the file it reads, and our plugin in its process.

Open ``child.py`` first; ``job.py`` and ``plugin.py`` run in Axolotl's process.
"""

from tools.axolotl.child import QUANTIZATION, TRAINER, as_yaml, call, render
from tools.trainers.child import Event

__all__ = ["QUANTIZATION", "TRAINER", "Event", "as_yaml", "call", "render"]
