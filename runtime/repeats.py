"""The budget of a run's repetitions: trying again must not multiply what ails an engine."""

from __future__ import annotations

from ..targets.failure_policy import Cause, FailurePolicy


class Repeats:
    """Counts the calls of a run and what is asked again because of them, by a plan's policy.

    Whoever would ask a server again asks here first: for another attempt at a call, a question
    about an answer of no use, or a hedge. All of them are at most `retry_share` of the calls so
    far, or `retry_floor` if that is more. What was lost with its connection may be `window` more:
    a server that dies takes all its calls with it at once, and has no load from their repetition.
    """

    def __init__(self, policy: FailurePolicy, window: int = 0) -> None:
        """Begin with none."""
        self._policy = policy
        self._window = window
        self._calls = self._repeated = self._lost = 0

    @property
    def made(self) -> int:
        """How many repetitions there were."""
        return self._repeated + self._lost

    def first(self) -> int:
        """Count a call that is submitted for the first time; returns its number, from 1."""
        self._calls += 1
        return self._calls

    def take(self, cause: Cause) -> bool:
        """Tell whether what failed for a cause may be asked again, and count it then."""
        if cause not in self._policy.retry:
            return False
        if cause != "connection":
            return self._repeat(1.0)
        if self.made >= self._bound(self._window):
            return False
        self._lost += 1
        return True

    def hedge(self) -> bool:
        """Tell whether a call that is late may be asked twice, and count it then.

        Hedges are left half of the budget: they are not what decides whether a run succeeds.
        """
        return self._repeat(0.5)

    def _bound(self, beside: int = 0) -> int:
        share = int(self._policy.retry_share * self._calls)
        return max(self._policy.retry_floor + beside, share)

    def _repeat(self, part: float) -> bool:
        if self._repeated >= part * self._bound() or self.made >= self._bound(self._window):
            return False
        self._repeated += 1
        return True
