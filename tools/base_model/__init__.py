"""The base model as a local folder: from the hub, from a GGUF in a wheel, or the user's own.

Open ``folder.py`` first.
"""

from tools.base_model.folder import config_file, is_here, local_folder

__all__ = ["config_file", "is_here", "local_folder"]
