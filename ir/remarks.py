"""Remarks: what a pass did at which places of the source, or what kept it from doing so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from .diagnostics import Span


@dataclass(frozen=True, slots=True)
class Remark:
    """One rewrite that a pass made, or one whose pattern was there but which a guard refused.

    pass_name: which pass. rewrite: which of its rewrites. text: what was done and what it saves, or
    the guard that refused it. places: of the operations concerned, `FILE:LINE:COLUMN`.
    """

    pass_name: str
    rewrite: str
    applied: bool
    text: str
    places: tuple[str, ...] = ()


class Located(Protocol):
    """What stands at places of the source: an operation, a proposal."""

    @property
    def locs(self) -> tuple[Span, ...]:
        """Where."""


Tell = Callable[[Remark], None]


@dataclass(frozen=True, slots=True)
class Reporter:
    """What one pass says; to nobody where no one listens."""

    pass_name: str
    tell: Tell | None = None

    def did(self, rewrite: str, text: str, *at: Located) -> None:
        """Say that a rewrite was made."""
        self._say(rewrite, True, text, at)

    def refused(self, rewrite: str, guard: str, *at: Located) -> None:
        """Say that a rewrite matched, and which guard refused it."""
        self._say(rewrite, False, guard, at)

    def _say(self, rewrite: str, applied: bool, text: str, at: Iterable[Located]) -> None:
        if self.tell is not None:
            places = dict.fromkeys(str(loc) for one in at for loc in one.locs)
            self.tell(Remark(self.pass_name, rewrite, applied, text, tuple(places)))


@dataclass
class Remarks:
    """Collects remarks. Passes walk a program several times; what is said again counts once."""

    _said: dict[Remark, None] = field(default_factory=dict)

    def __call__(self, remark: Remark) -> None:
        """Take a remark."""
        self._said[remark] = None

    def all(self) -> tuple[Remark, ...]:
        """Return the remarks in the order in which they were made.

        What was refused at first and done later, when something else had been, was done.
        """
        done = {(r.pass_name, r.rewrite, r.places) for r in self._said if r.applied}
        return tuple(
            r for r in self._said if r.applied or (r.pass_name, r.rewrite, r.places) not in done
        )


def counted(remarks: Iterable[Remark]) -> dict[tuple[str, str], tuple[int, int]]:
    """Return how often each rewrite of each pass was applied and refused, in order of first use."""
    found = Counter((r.pass_name, r.rewrite, r.applied) for r in remarks)
    pairs = dict.fromkeys((name, rewrite) for name, rewrite, _ in found)
    return {pair: (found[*pair, True], found[*pair, False]) for pair in pairs}
