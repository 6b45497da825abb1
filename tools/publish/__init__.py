"""A finished run as a folder for the Hugging Face hub, with its model card. Open ``folder.py``.

Nothing here sends anything anywhere: pushing is the author's own command, which is printed.
"""
