"""What a recipe will need, by formula: memory, hours, disk; and what would fit instead.

Open ``verdict.py`` first; ``memory.py``, ``speed.py`` and ``disk.py`` are the formulas,
``sides.py`` those of models with an encoder.
"""

from tools.plan.verdict import Plan, plan

__all__ = ["Plan", "plan"]
