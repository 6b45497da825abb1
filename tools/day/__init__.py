"""The day: its ledger, what is left of it, and what decides in a training by clock or by loss.

Open ``clock.py`` first; schedule, guard and checkpoints work in Axolotl's process.
"""

from tools.day.clock import Allowance, Clock

__all__ = ["Allowance", "Clock"]
