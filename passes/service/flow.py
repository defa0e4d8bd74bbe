"""Requests that may wait, in an epoch's programme: what came, what has begun, what is late.

What has begun by the end of a period is at most what has come, and at least what had come `wait_s`
before, late requests apart; between the ends of periods both are linear, so it is so at all times.
Late ones have begun by the epoch's end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .problem import Backlog, Epoch, RequestClass

if TYPE_CHECKING:
    from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

EPSILON = 1e-6  # of requests; what a solver leaves of zero


class Flow:
    """The requests of one class that waits.

    All amounts are in requests since the epoch began, at the ends of periods, with what waited
    before it in the first place.
    """

    def __init__(
        self,
        model: mathopt.Model,
        kind: RequestClass,
        epoch: Epoch,
        requests: tuple[float, ...],
        backlog: Backlog,
        columns: int,
    ) -> None:
        """Add its variables and constraints; `begun` are variables by column and period."""
        from ortools.math_opt.python import mathopt

        self.model, self.epoch, self.kind = model, epoch, kind
        self.requests = requests
        self.wait = waited_periods(kind, epoch.period_s)
        self.before = backlog.came()  # what was there to begin, at the ends of past periods
        count = len(self.requests)
        self.came = [backlog.waiting]
        for new_ones in requests:
            self.came.append(self.came[-1] + new_ones)
        new = self.model.add_variable
        self.begun = [[new(lb=0.0) for _ in range(count)] for _ in range(columns)]
        # sums up to the end of each period, from 0: on-time ones begun, late ones, those begun
        self.punctual: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        self.late: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        self.caught_up: list[mathopt.LinearTypes] = [0.0, *(new(lb=0.0) for _ in range(count))]
        add = self.model.add_linear_constraint
        self.balance = []
        for t in range(count):
            for series in (self.punctual, self.late, self.caught_up):
                add(series[t + 1] - series[t] >= 0.0)
            add(self.late[t + 1] - self.late[t] <= self.requests[t])
            done = self.punctual[t + 1] - self.punctual[t] + self.caught_up[t + 1]
            total = mathopt.LinearSum(b[t] for b in self.begun)
            self.balance.append(add(total - done + self.caught_up[t] == 0.0))
            add(self.punctual[t + 1] + self.late[t + 1] <= self.came[t + 1])
            add(self.caught_up[t + 1] - self.late[t + 1] <= 0.0)
        add(self.caught_up[count] - self.late[count] == 0.0)
        add(self.late[count] <= self.kind.late * sum(self.requests))
        self._in_time(count)

    def _in_time(self, count: int) -> None:
        """Have begun by the end of each period what had come `wait_s` before."""
        add = self.model.add_linear_constraint
        for t in range(1, count + 1):
            due = t - self.wait
            if due < 0:
                # of what waited before the epoch, as much as had come by then
                add(self.punctual[t] >= self.before[max(due - 1, -len(self.before))])
            else:
                add(self.punctual[t] >= self.came[due] - self.late[due])
        if self.epoch.last:
            add(self.punctual[count] + self.late[count] >= self.came[count])

    def left(self) -> mathopt.LinearTypes:
        """Return the requests left to the next epoch."""
        return self.came[-1] - self.punctual[-1] - self.late[-1]

    def backlog(self, result: mathopt.SolveResult) -> Backlog:
        """Return what is left to the next epoch."""
        late = [0.0, *result.variable_values(self.late[1:])]
        punctual = result.variable_values(self.punctual[-1])
        waiting = max(self.came[-1] - punctual - late[-1], 0.0)
        recent = [
            max(requests - (late[t + 1] - late[t]), 0.0) for t, requests in enumerate(self.requests)
        ][-self.wait :]
        return Backlog(0.0 if waiting < EPSILON else waiting, tuple(recent))


def waited_periods(kind: RequestClass, period_s: float) -> int:
    """Return for how many whole periods requests may wait."""
    return int(kind.wait_s / period_s + EPSILON)
