"""What the run is worth, question by question; open ``scores.py`` first."""
