"""What a run may use up in all, and what it has: money, energy, and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..targets.plan import Plan
from .program import Step
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
_Doing = tuple[str, str | None]  # a step, and the engine that its calls are on


def _doing(step: Step) -> _Doing:
    return step.name, step.engine


@dataclass(slots=True)
class _Account:
    """One kind of what is used up: its bound, what was spent, and what calls at work will."""

    bound: float | None
    per_call: Mapping[_Doing, float]  # as the plan predicts
    shown: Callable[[float], str]
    spent: float = 0.0
    at_work: float = 0.0

    def refusal(self, step: Step) -> str | None:
        """Return why a call must not begin: with it, the bound would be crossed."""
        more = self.per_call.get(_doing(step), 0.0)
        if self.bound is None or self.spent + self.at_work + more <= self.bound:
            return None
        at_work = f", calls at work take about {self.shown(self.at_work)}" if self.at_work else ""
        return (
            f"the budget of {self.shown(self.bound)} would be crossed: {self.shown(self.spent)} "
            f"is spent{at_work}, and a call of `{step.name}` takes about {self.shown(more)}"
        )


class Spending:
    """Counts what calls use up, and refuses those that would cross a bound.

    A call counts as what the plan predicts for it while it is at work; afterwards, as what its
    server was paid, where it has a price by the token, else still as predicted: what one call
    took of a machine is not measured. An attempt that failed counts what it was charged.
    """

    def __init__(self, plan: Plan, bounds: Bounds, began_s: float) -> None:
        """Begin to count; `began_s` is when the run did, on its clock."""
        calls: dict[_Doing, tuple[float, float, float]] = {}  # seconds, dollars and joules
        for step in plan.steps:
            if step.calls:
                shares = step.cost_usd / step.calls, step.energy_j / step.calls
                calls[step.step, step.engine] = (step.call_s.get("p50", 0.0), *shares)
            if step.substitute is not None:
                other = step.substitute
                figures = other.call_s, other.cost_usd, other.energy_j
                calls[step.step, other.engine] = figures
        self.until_s = None if bounds.seconds is None else began_s + bounds.seconds
        self._seconds = bounds.seconds
        self._call_s = {who: each[0] for who, each in calls.items()}
        dollars, joules = ({who: each[n] for who, each in calls.items()} for n in (1, 2))
        self._usd = _Account(bounds.usd, dollars, "${:.4g}".format)
        self._joules = _Account(bounds.joules, joules, _watt_hours)

    def refusal(self, step: Step, now_s: float) -> str | None:
        """Return why a call of a step must not begin now, None where it may."""
        takes_s = self._call_s.get(_doing(step), 0.0)
        if self.until_s is not None and now_s + takes_s > self.until_s:
            left_s = max(self.until_s - now_s, 0.0)
            return (
                f"the deadline of {self._seconds:g} s would be crossed: {left_s:.3g} s are left, "
                f"and a call of `{step.name}` takes about {takes_s:.3g} s"
            )
        return self._usd.refusal(step) or self._joules.refusal(step)

    def late(self) -> str:
        """Return what is said when the deadline has come with calls still at work."""
        return f"the deadline of {self._seconds:g} s has come: what was at work was stopped"

    def begin(self, step: Step) -> None:
        """Count a call that begins."""
        for account in (self._usd, self._joules):
            account.at_work += account.per_call.get(_doing(step), 0.0)

    def end(self, step: Step, usage: Usage | None, *, completed: bool) -> None:
        """Count a call that ended."""
        for account in (self._usd, self._joules):
            account.at_work -= account.per_call.get(_doing(step), 0.0)
        self.add(step, usage, completed=completed)

    def add(self, step: Step, usage: Usage | None, *, completed: bool) -> None:
        """Count what a call used up, also one that the journal has from before."""
        paid = usage.usd if usage is not None else 0.0
        expected_usd = self._usd.per_call.get(_doing(step), 0.0) if completed else 0.0
        self._usd.spent += paid if paid else expected_usd
        self._joules.spent += self._joules.per_call.get(_doing(step), 0.0) if completed else 0.0


def _watt_hours(joules: float) -> str:
    return f"{joules / 3600.0:.4g} Wh"
