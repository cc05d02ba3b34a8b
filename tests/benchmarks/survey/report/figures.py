"""Figures as people read them: three digits, a unit that suits, thousands apart."""

from __future__ import annotations

import math

DIGITS = 3
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"

# From the greatest; a figure is told in the first that it reaches.
SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"), (1e-9, "ns")),
    "bytes": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
}


def digits(figure: float) -> str:
    """Write a figure with three digits: 0.0123, 1.23, 12.3, 123, 12,300."""
    if figure == 0:
        return "0"
    rounded = float(f"{figure:.{DIGITS}g}")
    places = max(DIGITS - 1 - math.floor(math.log10(abs(rounded))), 0)
    return f"{rounded:,.{places}f}".replace("-", MINUS)


def count(figure: float) -> str:
    """Write what is counted: a whole number as it is, an average with three digits."""
    if float(figure).is_integer():
        return f"{figure:,.0f}".replace("-", MINUS)
    return digits(figure)


def scale(figure: float, unit: str) -> tuple[float, str]:
    """Return how much of the unit the one that suits this figure is, and that one's symbol."""
    scales = SCALES.get(unit)
    if scales is None:
        return 1.0, "/s" if unit == "1/s" else ""
    if figure == 0:
        return scales[-1]
    # 999.9 µs are written as 1.00 ms, not as 1,000 µs.
    size = abs(float(f"{figure:.{DIGITS}g}"))
    return next((one for one in scales if size >= one[0]), scales[-1])


def amount(figure: float, unit: str) -> str:
    """Write a figure with its unit."""
    if unit not in SCALES and unit != "1/s":
        return count(figure)
    of_unit, symbol = scale(figure, unit)
    # A part of a byte is an average, and the third digit of it is noise.
    written = count(round(figure, 1)) if symbol == "B" else digits(figure / of_unit)
    return f"{written}{symbol}" if symbol == "/s" else f"{written} {symbol}"


def spread(least: float, greatest: float, unit: str, beside: float) -> str:
    """Write a range in the unit that the figure beside it is told in, without the symbol."""
    of_unit, _ = scale(beside, unit)
    write = digits if unit in SCALES or unit == "1/s" else count
    low, high = write(least / of_unit), write(greatest / of_unit)
    return low if low == high else f"{low}{DASH}{high}"


def ratio(times: float) -> str:
    """Write how many times: two digits, since the third is noise."""
    places = 2 if times < 0.995 else 1 if times < 9.95 else 0
    return f"{times:,.{places}f}"


def percent(share: float) -> str:
    """Write a share of one."""
    return f"{share * 100:.0f} %" if share >= 0.095 or share == 0 else f"{share * 100:.1f} %"
