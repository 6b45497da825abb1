"""Text that is none to YAML or to OmegaConf: their errors, what they say, and what to do."""

from typing import Any

import yaml


def omegaconf() -> Any:
    """OmegaConf, imported where it is needed first."""
    from omegaconf import OmegaConf

    return OmegaConf


def odd_text() -> tuple[type[Exception], ...]:
    """What PyYAML and OmegaConf raise on odd text, and what of Python's they let through."""
    from omegaconf.errors import OmegaConfBaseException

    own = (yaml.YAMLError, OmegaConfBaseException)
    of_python = (ValueError, LookupError, TypeError, AttributeError, AssertionError)
    return (*own, *of_python, RecursionError)


def quotes(key: Any) -> str:
    """What to do about a key that YAML does not read as a text."""
    why = "YAML reads yes, no, on and off as true and false; " if isinstance(key, bool) else ""
    return f"{why}put it in quotes"


def nearly(number: float) -> str:
    """``, not inf``; of a number that is too long to print, nothing."""
    return f", not {number}" if isinstance(number, float) else ""


def remedy(text: str, error: Exception) -> str:
    """What to do about a text that is no YAML."""
    mark = getattr(error, "problem_mark", None)
    lines = text.splitlines()[mark.line : mark.line + 1] if mark else []
    if lines and "\t" in lines[0][: len(lines[0]) - len(lines[0].lstrip())]:
        return "indent with spaces, YAML takes no tabs"
    return "look at its indentation, colons and quotes"


def first_line(error: Exception) -> str:
    """An error's text up to the first line's end; of an error without any, its class's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
