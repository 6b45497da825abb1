"""What is trained on, shown before it is: rows as tokens, what is learnt, how long they are.

Open ``look.py`` first; ``examine.py`` is one row beside what serving would read of it.
"""

from tools.preview.look import Preview, look

__all__ = ["Preview", "look"]
