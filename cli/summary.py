"""What `mkb compile` says: the plan beside the one without optimisation."""

from __future__ import annotations

from ..targets.plan import Plan


def summary(plan: Plan) -> str:
    """Return the summary of a plan as text."""
    return plan.workflow
