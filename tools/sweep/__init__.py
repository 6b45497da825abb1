"""The sweep: trials of a recipe's own training with other values, in a part of the day.

Open ``search.py`` first: it draws, has trials climb and tells the winner, whatever a trial is;
``trial.py`` makes one, ``stage.py`` all of them.
"""
