"""The parts of a report as plain values; open ``gather.py`` first."""
