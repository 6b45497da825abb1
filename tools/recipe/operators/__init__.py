"""The operators on rows that a recipe may list: what they are, and what may be wrong with them."""
