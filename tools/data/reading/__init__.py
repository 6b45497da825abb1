"""Files to records: the format is told by a file's first bytes, and every fault by its place.

Open ``formats.py`` first. A record is a row's number in its file and its fields by name.
"""
