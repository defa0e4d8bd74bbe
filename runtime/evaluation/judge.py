"""The metric that asks a language model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ...targets.library import Executor
from ...targets.plan import Plan
from ..errors import RunError
from ..media import Media
from ..values import canonical, encode
from .dataset import Item
from .scoring import Metric
from .trials import Trials


def judge(plan: Plan, executor: Executor, trials: Trials) -> Metric:
    """Return the metric that a judge's plan makes: 1 for what it says yes to.

    The plan takes texts `question` (the item's inputs; media by name alone), `expected` and
    `answer`, and gives `yes` or `no`. A judge that fails raises `RunError`: what it judges has no
    part in that.
    """

    async def score(item: Item, result: Any) -> float:
        inputs = {
            "question": _question(item.inputs),
            "expected": _text(item.expected),
            "answer": _text(result),
        }
        try:
            found = await trials.result(plan, inputs)
        except RunError as error:
            where = f"on the result for the item of line {item.line}"
            message = f"the judge `{executor.name}` failed {where}: {error.message}"
            raise RunError(message) from None
        return float(found.value == "yes")

    content = f"{executor.digest} {plan.digests['source']}"
    return Metric(f"judge {executor.name}", hashlib.sha256(content.encode()).hexdigest(), score)


def _question(inputs: Mapping[str, Any]) -> str:
    if len(inputs) == 1:
        return _text(next(iter(inputs.values())))
    return "\n".join(f"{name}: {_text(value)}" for name, value in inputs.items())


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case Media():
            return f"({value.kind} `{value.name}`)"
        case None:
            return "(nothing)"
    return canonical(encode(value))
