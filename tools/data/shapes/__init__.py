"""Records to what is learnt: a module a family of shapes; ``detect.py`` tells which one a file has.

Open ``base.py`` first, then ``pairs.py``, the simplest.
"""
