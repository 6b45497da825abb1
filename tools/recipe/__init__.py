"""A recipe: YAML composed, held against the schema, made dataclasses; faults with their place.

Open ``load.py`` first: the only place that reads recipe YAML.
"""

from tools.recipe.load import Loaded
from tools.recipe.schema import Recipe

__all__ = ["Loaded", "Recipe"]
