"""A run held against its manifest: every hash, and a copy rebuilt from the manifest alone.

Open ``reproduce.py`` first.
"""
