"""Makers of questions, a module a kind; ``tools.data.skills`` registers them."""
