"""The base model as a local folder: from the hub, from a GGUF in a wheel, or the user's own.

Open ``folder.py`` first.
"""

from tools.base_model.folder import local_folder

__all__ = ["local_folder"]
