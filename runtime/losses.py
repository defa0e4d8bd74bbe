"""The items that a run goes on without."""

from __future__ import annotations

from dataclasses import dataclass, field

from .messages import Failure

_TOLD = 100  # failures that are kept to be told; more are counted


@dataclass(slots=True)
class Losses:
    """How many items were left out, and the failures of the first."""

    items: int = 0
    told: list[Failure] = field(default_factory=list)

    def add(self, failure: Failure) -> None:
        """Count an item that is left out because of a failure."""
        self.items += 1
        if len(self.told) < _TOLD:
            self.told.append(failure)
