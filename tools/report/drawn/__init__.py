"""The parts of a report as HTML; open ``page.py`` first."""
