"""The framework: a room (package) a noun; docs/architecture.md is the floor plan."""

__version__ = "0.1.0"
