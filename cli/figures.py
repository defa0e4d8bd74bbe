"""Quantities as people read them: three significant digits, the unit that suits the size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from ..ir.ops import Attr
from ..ir.printer import attr_text

_SIZES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))
Shown = Callable[[float], str]
MINUS = "\u2212"  # as wide as a plus sign, unlike a hyphen


def seconds(value: float) -> str:
    """Return `0.8 ms`, `450 ms`, `12.3 s`, `4 min 05 s` or `2 h 10 min`."""
    if abs(value) < 1.0:
        return f"{_digits(value * 1e3)} ms" if value else "0 s"
    if abs(value) < 120.0:
        return f"{_digits(value)} s"
    whole = round(value)
    if abs(whole) < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def joules(value: float) -> str:
    """Return `35 J`, `1.2 kJ`."""
    return _scaled(value, "J")


def size(value: float) -> str:
    """Return an amount of bytes, `282 kB`, `16.4 GB`."""
    return _scaled(value, "B")


def grams(value: float) -> str:
    """Return an amount of carbon, `4.2 mg`, `1.3 g`, `20 kg`."""
    return _scaled(value, "g")


def parameters(value: float) -> str:
    """Return how many parameters a model has, `8.2 G`."""
    return _scaled(value, "").rstrip()


def dollars(value: float) -> str:
    """Return `$0.0123`, `$4.20`; small amounts keep three digits."""
    if value == 0.0:
        return "$0"
    return f"${value:.2f}" if abs(value) >= 1.0 else f"${_digits(value)}"


def share(value: float) -> str:
    """Return an accuracy or another fraction, `0.934`."""
    return f"{value:.3f}"


def count(value: float) -> str:
    """Return a number of things, `8` or, where it is an expectation, `7.5`."""
    return _digits(value)


def several(value: float, thing: str) -> str:
    """Return `1 call`, `8 calls`."""
    return f"{count(value)} {thing}{'' if value == 1 else 's'}"


def percent(value: float) -> str:
    """Return a fraction of one as `12 %`."""
    share = abs(value) * 100.0
    return f"{value * 100.0:.0f} %" if share >= 10.0 else f"{value * 100.0:.1f} %".replace(".0", "")


def change(value: float, base: float) -> str:
    """Return the relative change from base to value: `-35 %`, `2.1 x`, `same`."""
    if value == base:
        return "same"
    if base == 0.0:
        return ""
    ratio = value / base
    if ratio >= 2.0:
        return f"{_digits(ratio)} x"
    rise = ratio - 1.0
    sign = MINUS if rise < 0 else "+"
    return sign + percent(abs(rise)) if abs(rise) >= 5e-4 else "same"


def difference(shown: Shown, value: float | None, base: float) -> str:
    """Return the change from base to value with its sign: `+35 J`, `0` for none, `?` unknown."""
    if value is None:
        return "?"
    change = value - base
    text = shown(abs(change))
    if abs(change) <= 1e-4 * abs(base) or not any(digit in text for digit in "123456789"):
        return "0"
    return (MINUS if change < 0 else "+") + text


# how each metric of a plan is shown
METRICS: Mapping[str, Shown] = {
    "energy": joules,
    "cost": dollars,
    "latency": seconds,
    "accuracy": share,
    "gpus": count,
}


def knobs(values: Mapping[str, Attr]) -> str:
    """Return `frames=10, k=5`."""
    return ", ".join(f"{key}={attr_text(value)}" for key, value in sorted(values.items()))


def _scaled(value: float, unit: str) -> str:
    for size, prefix in _SIZES:
        if abs(value) >= size:
            return f"{_digits(value / size)} {prefix}{unit}"
    return f"0 {unit}" if value == 0.0 else f"{_digits(value * 1e3)} m{unit}"


def _digits(value: float) -> str:
    """Return three significant digits without an exponent or idle zeros."""
    if value == 0.0:
        return "0"
    if abs(value) >= 100.0:
        return f"{value:.0f}"
    text = f"{value:.3g}"
    return format(Decimal(text), "f") if "e" in text else text
