"""Whether nothing can meet some of a problem's limits: what the linear relaxation already refutes.

A linear programme answers in milliseconds what a model with a timeline takes seconds for, and most
requirements that cannot be met (far too little money, time or energy) fail there. It knows nothing
of what nodes have and of requirements from below: not refuted does not mean feasible.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from .problem import Limit, Problem

if TYPE_CHECKING:
    from .relaxation import Relaxation


class Refutation:
    """The relaxation of a problem, built once, asked for any of its limits by their words."""

    def __init__(self, problem: Problem) -> None:
        """Build the relaxation with all limits, each of which can be left out."""
        from .relaxation import Relaxation

        self._built: Relaxation = Relaxation(problem, whole=False)
        self._bounds = [row.upper_bound for _, row in self._built.limiting]

    def refutes(self, kept: Collection[str]) -> bool:
        """Tell whether it is proved that nothing meets the limits of these words together."""
        from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]

        self._keep(kept)
        self._built.model.minimize(0.0)
        result = mathopt.solve(self._built.model, mathopt.SolverType.GLOP)
        return bool(result.termination.reason == mathopt.TerminationReason.INFEASIBLE)

    def least(self, limit: Limit, kept: Collection[str]) -> float:
        """Return what a limit's metric is at least with these limits kept; accuracy: at most."""
        from ortools.math_opt.python import mathopt

        self._keep(kept)
        self._built.model.minimize(self._built.amount(limit.metric, limit.percentile))
        result = mathopt.solve(self._built.model, mathopt.SolverType.GLOP)
        if result.termination.reason != mathopt.TerminationReason.OPTIMAL:
            return 1.0 if limit.metric == "accuracy" else 0.0
        return self._built.unscaled(limit.metric, result.best_objective_bound())

    def _keep(self, kept: Collection[str]) -> None:
        for (limit, row), bound in zip(self._built.limiting, self._bounds, strict=True):
            row.upper_bound = bound if limit.text in kept else math.inf
