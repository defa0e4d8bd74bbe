"""Expansion: calls that compositions carry out become the operations that these stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...ir.ops import Attr, Op, Region, attributes
from ...ir.workflow import Module
from ...targets.compositions import Composes
from ..rewrite import FreshNames
from .arrangement import Arrangement
from .cascade import cascade
from .debate import debate
from .made import MadeTasks
from .reflect import reflect
from .site import Site
from .sketch import Sketch
from .vote import vote

COMPOSED = "composed."  # attributes of a module: by call, the composition that it is part of

_KINDS: Mapping[Composes, Callable[[Site, Sketch], None]] = {
    "cascade": cascade,
    "vote": vote,
    "reflect": reflect,
    "debate": debate,
}


def expanded(module: Module, arrangements: Mapping[str, Arrangement]) -> Module:
    """Return a logical module in which these calls, by the name of their result, are expanded.

    The value that a call gave has its name and type still. Every operation has the call's places.
    The module's attributes say which calls are part of which composition.
    """
    workflow = module.sole()
    names = FreshNames(workflow)
    made = MadeTasks(module.tasks)
    parts: dict[str, Attr] = {}

    def region(old: Region) -> Region:
        ops: list[Op] = []
        for op in old.ops:
            arrangement = arrangements.get(op.result.name) if op.result is not None else None
            if op.kind == "call" and arrangement is not None:
                sketch = Sketch(op.out().name, op.locs, names)
                task = made[str(op.symbol)]
                _KINDS[arrangement.composition.kind](Site(op, task, arrangement, made), sketch)
                ops += sketch.ops
                calls = (o for top in sketch.ops for o in top.walk() if o.symbol is not None)
                parts.update((COMPOSED + o.out().name, arrangement.label) for o in calls)
            elif op.regions:
                ops.append(replace(op, regions=tuple(map(region, op.regions))))
            else:
                ops.append(op)
        return replace(old, ops=tuple(ops))

    body = region(workflow.body)
    expectations = tuple(made.expectations(workflow.expectations))
    called = {op.symbol for top in body.ops for op in top.walk()}
    return replace(
        module,
        workflows=(replace(workflow, body=body, expectations=expectations),),
        # of a task whose answers are all scored, only the made one is left
        tasks=tuple(task for task in made.sorted() if task.name in called),
        attrs=attributes({**dict(module.attrs), **parts}),
    )
