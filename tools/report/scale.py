"""Axes: round numbers to mark, and numbers as a reader wants them."""

import math

from tools.preview.lengths import step_of

__all__ = ["label", "number", "share", "signed", "step_of", "ticks"]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, equally far apart, that enclose ``low`` to ``high``."""
    size = max(abs(low), abs(high))
    # What is as good as one value, or as nothing, gives no step that floats could tell apart.
    span = 1.0 if size < 1e-100 else high - low if high - low > 1e-9 * size else size
    step = step_of(span, count)
    # Rounded: 0.3 / 0.1 is a little under 3, and 3 * 0.1 a little over 0.3.
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
    return [float(f"{i * step:.12g}") for i in range(first, max(last, first + 1) + 1)]


def number(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` decimals and thousands parted; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference, with a true minus sign."""
    return "–" if value is None else f"{value:+,.{digits}f}".replace("-", "−")


def share(value: float | None) -> str:
    """A share of 1, in per cent."""
    return "–" if value is None else f"{100 * value:.0f} %"


def label(value: float, step: float) -> str:
    """A tick's text, as exact as its distance to the next one asks."""
    if not value and step < 1e-3:
        return "0"
    if step < 1e-3:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}"
