"""Compositions: library entries that wrap other executors instead of doing work themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..ir.diagnostics import Span
from ..ir.ops import Attr

if TYPE_CHECKING:
    from .library import Quality

Composes = Literal["cascade", "vote", "reflect", "debate"]
Verify = Literal["confidence", "task"]
# A figure for each setting of a knob.
Figures = tuple[tuple[Attr, float], ...]

# The knobs of each kind, and the least setting of each.
KNOBS: Mapping[Composes, Mapping[str, float]] = {
    "cascade": {"threshold": 0.0},
    "vote": {"votes": 3},
    "reflect": {"rounds": 1},
    "debate": {"debaters": 2, "rounds": 1},
}
# More calls than this nobody means: settings become operations of a workflow.
MOST = 100


@dataclass(frozen=True, slots=True)
class Composition:
    """One `[[executor]]` entry of kind `composition`.

    quality: a factor, relative to the best member alone (cascade: to the last); `factors` scale it
    by a knob's setting. members: names of executors; of a cascade from cheap to strong, of others
    those that may be the member; none: any language model that can do the task. knobs: the settings
    the compiler may take; a pin that leaves several means the first. escalates: of a cascade, by
    threshold, the share of calls that go on to the next member (by None: at any). agrees: by votes
    or debaters, the share of calls in which the first answers agree. mean_rounds: by rounds, how
    many are made before the answer is final. None of the three stated: nothing is known.
    """

    name: str
    kind: Composes
    interface: str
    description: str
    quality: Quality
    knobs: tuple[tuple[str, tuple[Attr, ...]], ...]
    members: tuple[str, ...] = ()
    verify: Verify = "confidence"
    escalates: Figures = ()
    agrees: Figures = ()
    mean_rounds: Figures = ()
    digest: str = ""
    loc: Span | None = None
    members_loc: Span | None = None

    def factor(self, settings: Mapping[str, Attr]) -> float:
        """Return what the composition does to accuracy at these settings, 1.0 being nothing."""
        value = self.quality.value
        for knob, factors in self.quality.factors:
            value *= dict(factors).get(settings.get(knob), 1.0)
        return value


def figure(figures: Figures, setting: Attr) -> float | None:
    """Return a figure at a setting, None where none is known."""
    known = dict(figures)
    return known.get(setting, known.get(None))
