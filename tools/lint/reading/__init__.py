"""A submission as it stands: folder, Dockerfile, shell, code; open ``submission.py`` first."""
