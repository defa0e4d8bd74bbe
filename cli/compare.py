"""`mkb compare`: what is different between two plans of one workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import common
from .output import Output, read_input
from .plans import read_plan

if TYPE_CHECKING:
    from ..targets.plan import Plan


@click.command
@click.argument("one", metavar="PLAN")
@click.argument("other", metavar="PLAN")
@common
@click.pass_obj
def command(output: Output, /, one: str, other: str) -> None:
    """Say what differs between two plans.

    Steps with their executors and places, and the predictions, one plan beside the other. Of two
    plans of services, what their days take, and what most requests of each class run on.
    """
    from dataclasses import asdict

    from ..targets.service_plan import ServicePlan, is_service_plan
    from .summary import comparison

    texts = read_input(one, output), read_input(other, output)
    if all(map(is_service_plan, texts)):
        from .services import compared, service_comparison

        services = ServicePlan.from_json(texts[0], one), ServicePlan.from_json(texts[1], other)
        output.result(service_comparison(*services, (one, other)), compared(*services))
        return
    plans = read_plan(texts[0], one), read_plan(texts[1], other)
    document = {
        "steps": [
            {"step": name, "one": _choice(plans[0], name), "other": _choice(plans[1], name)}
            for name in dict.fromkeys(step.step for plan in plans for step in plan.steps)
        ],
        "predicted": {"one": asdict(plans[0].predicted), "other": asdict(plans[1].predicted)},
    }
    output.result(comparison(*plans, (one, other)), document)


def _choice(plan: Plan, name: str) -> dict[str, object] | None:
    from .steps import by_name, engine, standing

    step = by_name(plan).get(name)
    if step is None:
        return None
    where = standing(engine(plan, step))
    return {"executor": step.executor, "knobs": dict(step.knobs), "where": where}
