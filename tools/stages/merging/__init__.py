"""A base and an adapter as one model, tensor by tensor. Open ``whole.py`` first."""

from tools.stages.merging.weights import faults
from tools.stages.merging.whole import merge_folders

__all__ = ["faults", "merge_folders"]
