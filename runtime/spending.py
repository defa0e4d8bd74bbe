"""What a run may use up in all, and what it has: money, energy, and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from ..targets.plan import Plan
from .program import Step
from .worker import Usage


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a run may use up: US dollars, joules, and seconds from its beginning; None: no bound.

    The start of its engines counts as time, what a journal has from before as money and energy.
    `began_s` is the machine's monotonic time from which it counts, None: when the run begins.
    """

    usd: float | None = None
    joules: float | None = None
    seconds: float | None = None
    began_s: float | None = None


UNBOUNDED = Bounds()
_Doing = tuple[str, str | None]  # a step, and the engine that its calls are on


def _doing(step: Step) -> _Doing:
    return step.name, step.engine


@dataclass(slots=True)
class _Account:
    """One kind of what is used up: its bound, what was spent, and what calls at work will."""

    name: str
    bound: float
    per_call: Mapping[_Doing, float]  # as the plan predicts
    shown: Callable[[float], str]
    charged: Callable[[Usage], float]  # what a server tells that a call took of it
    engine: str | None = None  # whose calls alone count; None: all calls do
    spent: float = 0.0
    at_work: float = 0.0

    def refusal(self, step: Step) -> str | None:
        """Return why a call must not begin: with it, the bound would be crossed."""
        more = self._expected(step)
        if not self._counts(step) or self.spent + self.at_work + more <= self.bound:
            return None
        at_work = f", calls at work take about {self.shown(self.at_work)}" if self.at_work else ""
        return (
            f"{self.name} of {self.shown(self.bound)} would be crossed: {self.shown(self.spent)} "
            f"is spent{at_work}, and a call of `{step.name}` takes about {self.shown(more)}"
        )

    def begin(self, step: Step) -> None:
        """Count a call that begins."""
        self.at_work += self._expected(step)

    def end(self, step: Step) -> None:
        """Count a call as at work no more."""
        self.at_work -= self._expected(step)

    def add(self, step: Step, usage: Usage | None, *, completed: bool) -> None:
        """Count what a call used up."""
        if self._counts(step):
            charged = self.charged(usage) if usage is not None else 0.0
            self.spent += charged or (self._expected(step) if completed else 0.0)

    def _counts(self, step: Step) -> bool:
        return self.engine is None or step.engine == self.engine

    def _expected(self, step: Step) -> float:
        return self.per_call.get(_doing(step), 0.0) if self._counts(step) else 0.0


class Spending:
    """Counts what calls use up, and refuses those that would cross a bound.

    A call counts as what the plan predicts for it while it is at work; afterwards, as what its
    server was paid, where it has a price by the token, else still as predicted: what one call
    took of a machine is not measured. An attempt that failed counts what it was charged.
    """

    def __init__(
        self, plan: Plan, bounds: Bounds, began_s: float, endpoints: Mapping[str, float]
    ) -> None:
        """Begin to count; `began_s` is when the run did, on its clock.

        `endpoints` are the dollars that may be spent on single engines, by their names.
        """
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
        account = partial(_Account, per_call=dollars, shown=_dollars, charged=_charged)
        self._accounts = [
            account(f"the `max_usd` of `{engine}`", bound, engine=engine)
            for engine, bound in endpoints.items()
        ]
        if bounds.usd is not None:
            self._accounts.append(account("the budget", bounds.usd))
        if bounds.joules is not None:
            self._accounts.append(
                _Account("the budget", bounds.joules, joules, _watt_hours, _nothing)
            )

    def refusal(self, step: Step, now_s: float) -> str | None:
        """Return why a call of a step must not begin now, None where it may."""
        takes_s = self._call_s.get(_doing(step), 0.0)
        if self.until_s is not None and now_s + takes_s > self.until_s:
            left_s = max(self.until_s - now_s, 0.0)
            return (
                f"the deadline of {self._seconds:g} s would be crossed: {left_s:.3g} s are left, "
                f"and a call of `{step.name}` takes about {takes_s:.3g} s"
            )
        refusals = (account.refusal(step) for account in self._accounts)
        return next((why for why in refusals if why is not None), None)

    def late(self) -> str:
        """Return what is said when the deadline has come with calls still at work."""
        return f"the deadline of {self._seconds:g} s has come: what was at work was stopped"

    def begin(self, step: Step) -> None:
        """Count a call that begins."""
        for account in self._accounts:
            account.begin(step)

    def end(self, step: Step, usage: Usage | None, *, completed: bool) -> None:
        """Count a call that ended."""
        for account in self._accounts:
            account.end(step)
        for account in self._accounts:
            account.add(step, usage, completed=completed)

    def before(self, steps: Iterable[Step], paid: Iterable[tuple[str, Usage | None]]) -> None:
        """Count calls that a journal has from before, by their steps' names, before any begins.

        The bound of an endpoint is for what one command spends there: it stands in the plan, and
        a journal goes on with the same plan alone.
        """
        accounts = [account for account in self._accounts if account.engine is None]
        if not accounts:
            return  # a journal may have a million calls
        named = {step.name: step for step in steps}
        for name, usage in paid:
            for account in accounts if name in named else ():
                account.add(named[name], usage, completed=True)


def _charged(usage: Usage) -> float:
    return usage.usd


def _nothing(usage: Usage) -> float:
    return 0.0  # no server tells what energy a call took


def _dollars(usd: float) -> str:
    return f"${usd:.4g}"


def _watt_hours(joules: float) -> str:
    return f"{joules / 3600.0:.4g} Wh"
