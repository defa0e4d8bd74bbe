"""The reference worker: what a module means, whatever it will run on.

Every task is a fixed pure function of its name, its arguments and its knobs, with values of the
right type. Two modules that mean the same give the same result and the same effects in the same
order, at any level of the IR.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from ..ir.workflow import Module
from .attempts import Limits
from .binding import bind_inputs
from .errors import RunError
from .messages import Cancel, Command, Completed, Dropped, Fail, Finish, Submit
from .program import Step, compile_program
from .state import RunState
from .synthetic import random_value
from .values import canonical, encode


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """What a module computes: its result, its effects as (task, arguments) in order, its calls."""

    value: Any
    effects: tuple[tuple[str, tuple[Any, ...]], ...]
    calls: int


def reference_value(step: Step, args: tuple[Any, ...]) -> Any:
    """Return the value of a call: drawn from the digest of task, arguments and knobs.

    Arguments go by the task's own names: those of the interface are known at some levels only.
    """
    named = {p.name: encode(arg) for p, arg in zip(step.task.params, args, strict=True)}
    text = canonical([step.task.name, named, encode(dict(step.knobs))])
    chance = Random(hashlib.sha256(text.encode()).digest())
    return random_value(step.task.result, chance)


def run_reference(
    module: Module, inputs: Mapping[str, Any], order: Random | None = None
) -> ReferenceRun:
    """Run a module that holds one workflow, at any level, on reference values.

    Steps complete in the order they were submitted, or in the order that `order` draws. Raises
    `RunError` where inputs do not fit or the program divides by zero.
    """
    values = bind_inputs(module.sole(), inputs)
    state = RunState(compile_program(module), Limits())
    waiting: list[Submit] = []
    effects: list[tuple[str, tuple[Any, ...]]] = []
    calls = 0
    commands: deque[Command] = deque(state.start(values))
    while True:
        while commands:
            command = commands.popleft()
            if isinstance(command, Finish):
                return ReferenceRun(command.value, tuple(effects), calls)
            if isinstance(command, Fail):
                raise RunError("; ".join(f"{f.instance}: {f.message}" for f in command.failures))
            if isinstance(command, Submit):
                waiting.append(command)
            if isinstance(command, Cancel):
                waiting = [call for call in waiting if call.id != command.id]
                commands.extend(state.apply(Dropped(command.id)))
        call = waiting.pop(order.randrange(len(waiting)) if order is not None else 0)
        calls += 1
        if call.step.task.effect:
            effects.append((call.step.task.name, call.args))
        commands.extend(state.apply(Completed(call.id, reference_value(call.step, call.args))))
