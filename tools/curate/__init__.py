"""Operators on rows: which stay, which change, and why; pure functions of rows and a seed.

Open ``steps.py`` first.
"""
