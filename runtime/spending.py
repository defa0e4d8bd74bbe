"""What a run may use up in all, and what it has: money, energy, and time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..targets.plan import Plan
from .worker import Usage


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run may use up: US dollars, joules, and seconds from its beginning; None: no bound.

    The start of its engines counts as time, what a journal has from before as money and energy.
    """

    usd: float | None = None
    joules: float | None = None
    seconds: float | None = None


UNBOUNDED = Bounds()


@dataclass(slots=True)
class _Account:
    """One kind of what is used up: its bound, what was spent, and what calls at work will."""

    bound: float | None
    per_call: dict[str, float]  # by step, as the plan predicts
    shown: Callable[[float], str]
    spent: float = 0.0
    at_work: float = 0.0

    def refusal(self, step: str) -> str | None:
        """Return why a call must not begin: with it, the bound would be crossed."""
        more = self.per_call.get(step, 0.0)
        if self.bound is None or self.spent + self.at_work + more <= self.bound:
            return None
        at_work = f", calls at work take about {self.shown(self.at_work)}" if self.at_work else ""
        return (
            f"the budget of {self.shown(self.bound)} would be crossed: {self.shown(self.spent)} "
            f"is spent{at_work}, and a call of `{step}` takes about {self.shown(more)}"
        )


class Spending:
    """Counts what calls use up, and refuses those that would cross a bound.

    A call counts as what the plan predicts for it while it is at work; afterwards, as what its
    server was paid, where it has a price by the token, else still as predicted: what one call
    took of a machine is not measured. An attempt that failed counts what it was charged.
    """

    def __init__(self, plan: Plan, bounds: Bounds, began_s: float) -> None:
        """Begin to count; `began_s` is when the run did, on its clock."""
        calls = {s.step: s for s in plan.steps if s.calls}
        self.until_s = None if bounds.seconds is None else began_s + bounds.seconds
        self._seconds = bounds.seconds
        self._call_s = {name: s.call_s.get("p50", 0.0) for name, s in calls.items()}
        self._usd = _Account(
            bounds.usd, {n: s.cost_usd / s.calls for n, s in calls.items()}, "${:.4g}".format
        )
        self._joules = _Account(
            bounds.joules, {n: s.energy_j / s.calls for n, s in calls.items()}, _watt_hours
        )

    def refusal(self, step: str, now_s: float) -> str | None:
        """Return why a call of a step must not begin now, None where it may."""
        if self.until_s is not None and now_s + self._call_s.get(step, 0.0) > self.until_s:
            left_s, takes_s = max(self.until_s - now_s, 0.0), self._call_s.get(step, 0.0)
            return (
                f"the deadline of {self._seconds:g} s would be crossed: {left_s:.3g} s are left, "
                f"and a call of `{step}` takes about {takes_s:.3g} s"
            )
        return self._usd.refusal(step) or self._joules.refusal(step)

    def late(self) -> str:
        """Return what is said when the deadline has come with calls still at work."""
        return f"the deadline of {self._seconds:g} s has come: what was at work was stopped"

    def begin(self, step: str) -> None:
        """Count a call that begins."""
        for account in (self._usd, self._joules):
            account.at_work += account.per_call.get(step, 0.0)

    def end(self, step: str, usage: Usage | None, *, completed: bool) -> None:
        """Count a call that ended."""
        for account in (self._usd, self._joules):
            account.at_work -= account.per_call.get(step, 0.0)
        self.add(step, usage, completed=completed)

    def add(self, step: str, usage: Usage | None, *, completed: bool) -> None:
        """Count what a call used up, also one that the journal has from before."""
        paid = usage.usd if usage is not None else 0.0
        expected_usd = self._usd.per_call.get(step, 0.0) if completed else 0.0
        self._usd.spent += paid if paid else expected_usd
        self._joules.spent += self._joules.per_call.get(step, 0.0) if completed else 0.0


def _watt_hours(joules: float) -> str:
    return f"{joules / 3600.0:.4g} Wh"
