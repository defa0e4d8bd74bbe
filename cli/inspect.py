"""`mkb inspect`: draw a plan, the workflow before and after."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import click

from .display import safe
from .options import common, compile_flags
from .output import Output
from .plans import plan_of

if TYPE_CHECKING:
    from ..ir.ops import Op
    from ..ir.workflow import Module
    from ..targets.plan import Plan


_WIDEST = 120


@click.command
@click.argument("file", metavar="PLAN|FILE.mkb")
@compile_flags
@click.option("--ir", is_flag=True, help="Print the placed IR.")
@click.option("--graph", type=click.Choice(["dot", "mermaid"]), help="Print a graph for drawing.")
@click.option("-o", "to", metavar="F", help="Write here instead of stdout.")
@common
@click.pass_obj
def command(
    output: Output, /, file: str, ir: bool, graph: str | None, to: str | None, **flags: Any
) -> None:
    """Draw a plan: the workflow as written and as it will run.

    Takes a plan, or a workflow with the flags of `compile`.
    """
    plan = plan_of(file, output, flags)
    module = plan.module()
    if ir:
        output.product("ir", plan.ir, to)
    elif graph is not None:
        from .graphs import graphviz, mermaid

        draw_graph = graphviz if graph == "dot" else mermaid
        output.product(graph, draw_graph(module.sole(), lambda op: _after(plan, op)), to)
    elif output.as_json:
        output.product("plan", plan.to_json(), to)
    else:
        columns = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
        output.product("text", picture(module, plan, columns), to)


def picture(module: Module, plan: Plan, columns: int) -> str:
    """Return the drawings of a plan, at most so many columns wide, and what it predicts.

    `module` is its placed module.
    """
    from .drawing import draw
    from .summary import predictions, proof, service

    parts = [click.style(f"workflow `{plan.workflow}`", bold=True)]
    flow = plan.written()
    if flow is not None:
        parts += ["as written:", draw(flow.sole(), lambda op: [], columns)]
    parts += [
        safe(f"as it will run for target `{plan.target}` on cluster `{plan.cluster}`:"),
        draw(module.sole(), lambda op: _after(plan, op), columns),
        predictions(plan),
        service(plan),
        proof(plan.solver),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _after(plan: Plan, op: Op) -> list[str]:
    from . import figures, steps

    step = steps.by_name(plan)[op.out().name]
    if step.executor is None:
        return [steps.LEFT_OUT]
    each = figures.seconds(step.call_s["p50"])
    taken = f"{figures.several(step.calls, 'call')} of {each}"
    return [steps.executor(step), steps.standing(steps.engine(plan, step)), taken]
