"""A recipe: YAML composed, held against the schema, made dataclasses; faults with their place.

Open ``load.py`` first: the only place that reads recipe YAML.
"""

from tools.recipe.schema import Recipe  # not load: who only needs the shape waits for no OmegaConf

__all__ = ["Recipe"]
