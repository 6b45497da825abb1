"""Scores: the worker is served, HELM or lm-eval asks it, and are the questions in the rows?

Open ``stage.py`` first; ``helm/`` is HELM as a program.
"""
