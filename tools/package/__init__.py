"""The submission: what goes in, its readme, image and weights by address; never the weights.

Open ``pack.py`` first.
"""

from tools.package.pack import Packed, package

__all__ = ["Packed", "package"]
