"""The run folder: fingerprints of stages, outputs that are whole or absent, records, the manifest.

Open ``folder.py`` first.
"""

from tools.run.folder import Run
from tools.run.provenance import Manifest

__all__ = ["Manifest", "Run"]
