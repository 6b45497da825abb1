"""What trains models, from both sides of its process; Axolotl, one of three, has a room of its own.

Open ``child.py`` first: it starts and reads any trainer. ``callbacks.py`` has what works inside all
of them, ``answering.py`` the two that are ours: encoders with a decoder, and encoders.
"""
