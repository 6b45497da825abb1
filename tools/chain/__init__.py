"""The chain: which stage comes after which, what is missing is made, on the clock where it counts.

Open ``stages.py`` first; ``verbs.py`` are the verbs that run it. The top floor: it uses every room.
"""
