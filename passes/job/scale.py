"""Whole numbers for the solver: every amount in units fitted to the problem, scaled once, here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...ir.workflow import MetricName
from .problem import Mode, Problem, Times

# Of the shortest possible job, or of the longest step if that is longer. More of them make bounds
# crawl: propagation takes steps of one tick where intervals chase each other.
TICKS = 5_000
UNITS = 10_000_000_000  # of a typical plan's energy, of its cost
LOG_UNITS = 1_000_000_000  # of a natural logarithm of quality


@dataclass(frozen=True, slots=True)
class Scale:
    """How large one integer unit is, fitted to the problem; at most 1 / TICKS of a job."""

    tick_s: float
    unit_j: float
    unit_usd: float

    @classmethod
    def of(cls, problem: Problem) -> Scale:
        """Fit to the problem's shortest timeline and its typical energy and cost."""
        shortest = [min(m.times[0].duration_s for m in step.modes) for step in problem.steps]
        ends: list[float] = []
        for step, seconds in zip(problem.steps, shortest, strict=True):
            ends.append(seconds + max((ends[b] for b in step.after), default=0.0))
        longest = [max(m.times[0].duration_s for m in step.modes) for step in problem.steps]
        span = max([*ends, *longest], default=0.0) or 1.0
        joules = math.fsum(_mean([m.energy_j for m in s.modes]) for s in problem.steps)
        usd = math.fsum(_mean([m.usd for m in s.modes]) for s in problem.steps)
        for engine in problem.engines:
            joules = max(joules, engine.idle_w * span + engine.startup_j)
            usd = max(usd, engine.usd_per_s * span + engine.startup_usd)
        return cls(span / TICKS, (joules or 1.0) / UNITS, (usd or 1.0) / UNITS)

    def ticks(self, seconds: float) -> int:
        """Round a duration up to ticks; what floating point adds to a whole number is dropped."""
        return math.ceil(seconds / self.tick_s - 1e-6)

    def in_ticks(self, problem: Problem) -> Problem:
        """Return the problem with every time a whole number of ticks."""

        def rounded(mode: Mode) -> Mode:
            times = tuple(
                Times(self.ticks(t.duration_s), self.ticks(t.first_s), self.ticks(t.last_s))
                for t in mode.times
            )
            return replace(mode, times=times)

        steps = tuple(
            replace(step, modes=tuple(rounded(mode) for mode in step.modes))
            for step in problem.steps
        )
        engines = tuple(
            replace(e, startup_s=self.ticks(e.startup_s), wake_s=self.ticks(e.wake_s))
            for e in problem.engines
        )
        return replace(problem, steps=steps, engines=engines)

    def unit(self, metric: MetricName) -> float:
        """Return the size of the integer unit of a metric; accuracy: of minus its logarithm."""
        match metric:
            case "latency":
                return self.tick_s
            case "energy":
                return self.unit_j
            case "cost":
                return self.unit_usd
            case "gpus":
                return 1.0
        return 1.0 / LOG_UNITS


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
