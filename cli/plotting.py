"""Plots: matplotlib, which is optional, without a screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic, InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
# distinguishable with any colour vision (Okabe and Ito, 2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def checked(path: Path) -> None:
    """Raise `InputError` where a plot could not be made or kept at a path."""
    if path.suffix not in FORMATS:
        message = f"cannot plot to `{path}`: its name ends in none of {', '.join(FORMATS)}"
        raise InputError(Diagnostic("usage", message))
    try:
        import matplotlib  # noqa: F401  # whether it is there is all that matters here
    except ImportError:
        message = "plots need matplotlib, which is not installed"
        hint = "pip install 'murakkab[plot]'"
        raise InputError(Diagnostic("missing-library", message, help=hint)) from None


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "murakkab"  # equal plots have equal bytes
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, path: Path) -> None:
    """Write a figure; raises `InputError` where that cannot be."""
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=150, metadata=dates.get(path.suffix))
    except OSError as error:
        message = f"cannot write `{path}`: {error.strerror}"
        raise InputError(Diagnostic("unwritable-file", message)) from None
