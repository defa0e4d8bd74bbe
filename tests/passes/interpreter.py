"""The meaning of IR at every level, as a plain sequential interpreter with made-up tasks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from murakkab.ir.ops import Op, Region
from murakkab.ir.types import Base, Enum, ListOf, Option, Record, Type
from murakkab.ir.workflow import Module, Task
from murakkab.runtime.evaluate import evaluator

Env = dict[str, Any]
Fails = Callable[[str], bool]  # tells of a task with its arguments whether it fails


class CallFails(ArithmeticError):
    """A task failed with these arguments."""


@dataclass
class Trace:
    """What a run gave and did: result, effects in order, how often each other task was called.

    `made` counts the same calls by task and arguments.
    """

    result: Any = None
    effects: list[tuple[str, str]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    failure: str | None = None


def interpret(module: Module, arguments: Mapping[str, Any]) -> Trace:
    """Run a module's only workflow; ArithmeticError where the program fails."""
    return Run(module).workflow(arguments)


def attempt(module: Module, arguments: Mapping[str, Any], fails: Fails) -> Trace:
    """Run a module's only workflow to its end or its first failure, of which the trace tells."""
    run = Run(module, fails)
    try:
        return run.workflow(arguments)
    except ArithmeticError as error:
        run.trace.failure = str(error)
        return run.trace


def wording(task: Task, operands: Iterable[Any]) -> str:
    """Return a task with its arguments, as one text."""
    return f"{task.name}{list(operands)!r}"


class Run:
    """One run of a module; `trace` is what it did so far."""

    def __init__(self, module: Module, fails: Fails = lambda call: False) -> None:
        self._fails = fails
        self._workflow = module.sole()
        self._tasks: dict[str, Task] = {task.name: task for task in module.tasks}
        self._sites: Counter[str] = Counter()
        self.trace = Trace()

    def workflow(self, arguments: Mapping[str, Any]) -> Trace:
        (self.trace.result,) = self._region(self._workflow.body, dict(arguments))
        return self.trace

    def _region(self, region: Region, env: Env) -> tuple[Any, ...]:
        for op in region.body:
            env[op.out().name] = self._op(op, env)
        return tuple(env[value.name] for value in region.terminator.operands)

    def _op(self, op: Op, env: Env) -> Any:
        operands = [env[value.name] for value in op.operands]
        match op.kind:
            case "const":
                return op.attr("value")
            case "call" | "invoke":
                return None if op.flag("skip") else self._call(op, operands)
            case "map":
                return [self._item(op, env, item)[0] for item in operands[0]]
            case "filter":
                return [item for item in operands[0] if self._item(op, env, item)[0]]
            case "if":
                return self._region(op.regions[0 if operands[0] else 1], env)[0]
            case "loop":
                return self._loop(op, env, operands)
        return evaluator(op)(*operands)

    def _item(self, op: Op, env: Env, item: Any) -> tuple[Any, ...]:
        (region,) = op.regions
        return self._region(region, {**env, region.args[0].name: item})

    def _loop(self, op: Op, env: Env, carried: list[Any]) -> Any:
        (region,) = op.regions
        names = [value.name for value in region.args]
        limit = op.attr("limit")
        assert isinstance(limit, int)
        for _ in range(limit):
            result, stop, *carried = self._region(
                region, {**env, **dict(zip(names, carried, strict=True))}
            )
            if stop:
                break
        return result

    def _call(self, op: Op, operands: list[Any]) -> Any:
        task = self._tasks[str(op.symbol)]
        key = wording(task, operands)
        if self._fails(key):
            raise CallFails(f"{key} fails")
        if task.effect:
            self.trace.effects.append((task.name, repr(operands)))
            key += str(len(self.trace.effects))
        else:
            self.trace.calls[task.name] += 1
            self.trace.made[key] += 1
        if op.flag("sampled"):
            # every call of a step gives another value: merged or moved, it shows
            name = op.out().name
            self._sites[name] += 1
            key += f"{name}{self._sites[name]}"
        return make(task.result, key)


def make(kind: Type, key: str) -> Any:
    """Return a value of a type that depends on nothing but the key."""
    seed = hashlib.sha256(f"{kind}{key}".encode()).digest()
    match kind:
        case Enum(values):
            return values[seed[0] % len(values)]
        case Option(item):
            return None if seed[0] % 3 == 0 else make(item, key + "?")
        case ListOf(item):
            return [make(item, f"{key}[{i}]") for i in range(seed[0] % 3)]
        case Record(fields):
            return {name: make(part, f"{key}.{name}") for name, part in fields}
        case Base("Int"):
            return seed[0] % 5 - 1
        case Base("Float"):
            return (seed[0] % 7 - 2) / 2
        case Base("Bool"):
            return seed[0] % 2 == 0
    return seed.hex()[: seed[0] % 4]
