"""`-O0` of a program: what a plan is compared with, and never worse than."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.workflow import Module, Workflow
from ..targets.lower import prediction
from ..targets.plan import Prediction


@dataclass(frozen=True, slots=True)
class Reference:
    """`-O0` as a placed module, and what it is predicted to take."""

    placed: Module
    predicted: Prediction

    @property
    def may_be_plan(self) -> bool:
        """Whether it meets the requirements; not where accuracy had to be measured, and was not."""
        known = dict(self.placed.attrs).get("accuracy_measured") is not False
        return known and not self.predicted.breaks

    def may_replace(self, placed: Module, workflow: Workflow) -> bool:
        """Tell whether it is a plan, and better than one on the stated objectives."""
        return self.may_be_plan and _is_better(self.predicted, prediction(placed), workflow)


def _is_better(one: Prediction, other: Prediction, workflow: Workflow) -> bool:
    """Tell whether one prediction beats another on the objectives in order, beyond rounding."""
    for metric in workflow.objectives:
        a, b = one.of(metric), other.of(metric)
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return a > b if metric == "accuracy" else a < b
    return False
