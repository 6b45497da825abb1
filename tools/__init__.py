"""The framework: one module a verb, each reads a recipe and a run folder."""

__version__ = "0.1.0"
