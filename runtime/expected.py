"""How many calls a run of a plan will make, now that the lengths of its inputs are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.types import ListOf
from ..ir.workflow import Region
from ..targets.plan import Plan
from ..targets.sizes import default_size


def expected_calls(plan: Plan, inputs: Mapping[str, Any]) -> float:
    """Return the calls that the plan predicts, for lists of the parameters as long as they are.

    A list that steps make keeps the length that the plan takes it for.
    """
    workflow = plan.module().sole()
    facts = {fact.fact: fact.value for fact in workflow.expectations}
    longer: dict[str, float] = {}  # lists, by how many times longer they are than predicted
    for param in workflow.params:
        if isinstance(param.type, ListOf) and param.name in inputs:
            predicted = facts.get(f"len({param.name})", default_size(param.type).length)
            if predicted:
                longer[param.name] = len(inputs[param.name]) / predicted
    times: dict[str, float] = {}

    def walk(region: Region, scale: float) -> None:
        for op in region.body:
            inner = scale
            if op.kind in ("map", "filter"):
                name = op.out().name
                longer[name] = longer.get(op.operands[0].name, 1.0)
                if f"len({name})" in facts:
                    longer[name] = 1.0  # it was said how long it is
                inner = scale * longer.get(op.operands[0].name, 1.0)
            if op.kind in ("call", "invoke"):
                times[op.out().name] = scale
            for each in op.regions:
                walk(each, inner)

    walk(workflow.body, 1.0)
    return sum(s.calls * times.get(s.step, 1.0) for s in plan.steps if s.executor is not None)
