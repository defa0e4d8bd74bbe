"""A workflow compiled to slots: what the state machine runs.

Values live in the integer slots of a frame, one frame for each instance of a region. Everything
that does not change from one iteration to the next (which instruction waits for how many values,
who reads a slot, what a region captures) is computed here once, so that a step costs the state
machine a few list accesses.

The order of effects is data flow too: every instruction that holds an effect reads a *token* and
writes the next one, so effects follow program order and nothing else waits for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ..ir.ops import Attr, Op, Region
from ..ir.workflow import Module, Task, Workflow
from .evaluate import Evaluator, evaluator
from .links import chained, streamed, streamed_once
from .values import checker

PENDING: Final = object()  # what a slot holds before its value is known
NO_SLOT: Final = -1


class Code(IntEnum):
    """What an instruction does; the state machine has one method for each."""

    PURE = 0
    SKIP = 1
    CALL = 2
    MAP = 3
    FILTER = 4
    IF = 5
    LOOP = 6
    YIELD = 7
    FORWARD = 8  # a yield that may pass on a list that still grows
    AHEAD = 9  # begins both branches of a speculative `if`; its result is for `CHOOSE`
    CHOOSE = 10


_STREAMING = (Code.MAP, Code.FILTER, Code.FORWARD)


class Feed(NamedTuple):
    """A link of a chain: parameter `param` takes the result of the call named `call`."""

    call: str
    param: str


@dataclass(frozen=True, slots=True)
class Step:
    """A call of the workflow, as its workers see it.

    `params` are the names the executor knows the arguments by. `knobs` are the chosen knobs and
    the pins that ask for one exact value. `check` tells what is wrong with a result, if anything.
    `fed` is the link to the step before in a chain (pass `fuse`), `feeds` says that another
    follows: a worker may leave the value between the two where it was made. A result that
    `streams` is a list which a `for` or `where` reads: its items are wanted as soon as they exist.
    The `substitute` does the calls that the executor fails for good.
    """

    name: str
    task: Task
    engine: str | None
    executor: str | None
    params: tuple[str, ...]
    knobs: Mapping[str, Attr]
    repeatable: bool
    check: Callable[[Any], str | None]
    fed: Feed | None = None
    feeds: bool = False
    streams: bool = False
    substitute: Step | None = None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operation on slots.

    `token_in` and `token_out` are `NO_SLOT` where the operation holds no effect. `limit` is a
    loop's bound, or a map's `concurrency` (0: not stated). `steps` are those of a call and of all
    blocks. `sole` says that the resulting list has exactly one reader, a map or filter beside it or
    whoever the result is handed on to, so its items need not be kept once read.
    """

    code: Code
    operands: tuple[int, ...] = ()
    result: int = NO_SLOT
    evaluate: Evaluator | None = None
    step: Step | None = None
    blocks: tuple[Block, ...] = ()
    token_in: int = NO_SLOT
    token_out: int = NO_SLOT
    limit: int = 0
    sole: bool = False
    place: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A region: its slots, arguments first, and its instructions, the yield last.

    `template` and `missing` are the first state of a frame: slot values (constants filled in), and
    for each instruction how many values it waits for. `users[slot]` are the instructions that wait
    for a slot, each with whether it can begin on a list that still grows. `captures` are pairs
    (slot of the enclosing frame, slot here).
    """

    template: list[Any]
    missing: list[int]
    instructions: tuple[Instruction, ...]
    users: tuple[tuple[tuple[int, bool], ...], ...]
    initial: tuple[int, ...]
    captures: tuple[tuple[int, int], ...]
    token_in: int
    token_out: int


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled workflow; its parameters are the first slots of `body`.

    A list that is its result is `handed_on` item by item, or else whole at the end.
    """

    workflow: str
    params: tuple[str, ...]
    body: Block
    steps: tuple[Step, ...]
    handed_on: bool = False


def compile_program(
    module: Module, idempotent: Iterable[str] = (), *, handed_on: bool = False
) -> Program:
    """Compile a verified module's only workflow, at any level.

    `idempotent` names the executors whose effects may be repeated after a failure. The calls of a
    module that is not placed yet have neither engine nor executor.
    """
    workflow = module.sole()
    compiler = _Compiler(module, frozenset(idempotent))
    return compiler.program(workflow, handed_on)


class _Compiler:
    def __init__(self, module: Module, idempotent: frozenset[str]) -> None:
        self._tasks = {task.name: task for task in module.tasks}
        self._idempotent = idempotent
        self._effects: dict[int, bool] = {}
        self._streamed = streamed(module.sole().body)
        self.steps: list[Step] = []

    def program(self, workflow: Workflow, handed_on: bool) -> Program:
        names = tuple(value.name for value in workflow.params)
        body = _BlockBuilder(self, None, names, handed_on=handed_on).build(workflow.body)
        return Program(workflow.name, names, body, tuple(self.steps), handed_on)

    def has_effect(self, op: Op) -> bool:
        """Tell whether an operation, or one nested in it, changes the world."""
        key = id(op)
        if key not in self._effects:
            own = op.symbol is not None and self._tasks[op.symbol].effect and not op.flag("skip")
            self._effects[key] = own or any(
                self.has_effect(inner) for region in op.regions for inner in region.ops
            )
        return self._effects[key]

    def step(self, op: Op, before: str | None, feeds: bool) -> Step:
        """Describe a call; `before` names the value that it takes from its chain."""
        assert op.symbol is not None  # the verifier's rule `shape`
        task = self._tasks[op.symbol]
        params = task.binding or tuple(value.name for value in task.params)
        taken = {value.name: param for value, param in zip(op.operands, params, strict=True)}
        engine, executor = op.attr("engine"), op.attr("executor")
        found = Step(
            name=op.out().name,
            task=task,
            engine=None if engine is None else str(engine),
            executor=None if executor is None else str(executor),
            params=params,
            knobs=_knobs(op),
            repeatable=not task.effect or executor in self._idempotent,
            check=checker(op.out().type),
            fed=None if before is None else Feed(before, taken[before]),
            feeds=feeds,
            streams=op.out().name in self._streamed and not task.effect,
        )
        found = replace(found, substitute=_substitute(op, found))
        self.steps.append(found)
        return found


def _substitute(op: Op, step: Step) -> Step | None:
    """Describe a call as its substitute does it: elsewhere, and by itself where it was chained."""
    engine, executor = op.attr("substitute.engine"), op.attr("substitute.executor")
    if engine is None or executor is None or step.task.effect:
        return None
    knobs = {**_pinned(op), **_chosen(op, "substitute.knob.")}
    return replace(
        step, engine=str(engine), executor=str(executor), knobs=knobs, fed=None, feeds=False
    )


# Pins that choose an executor or its place; they are no arguments of it.
_PLACING_PINS = frozenset({"executor", "model", "device", "gpu"})


def _knobs(op: Op) -> dict[str, Attr]:
    """Return the pins that ask for one value, overridden by the chosen knobs."""
    return _pinned(op) | _chosen(op, "knob.")


def _chosen(op: Op, prefix: str) -> dict[str, Attr]:
    return {n.removeprefix(prefix): v for n, v in op.attrs if n.startswith(prefix)}


def _pinned(op: Op) -> dict[str, Attr]:
    """Return the pins that ask for one value (`"= 10"`)."""
    found: dict[str, Attr] = {}
    for name, value in op.attrs:
        pin = name.removeprefix("pin.")
        if pin == name or pin in _PLACING_PINS:
            continue
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and text.startswith("= "):
                found[pin] = _literal(text.removeprefix("= "))
    return found


def _literal(text: str) -> Attr:
    """Read the value of a pin: a JSON scalar, or else a bare word."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


class _BlockBuilder:
    """Gives the values of one region their slots and its operations their instructions."""

    def __init__(
        self,
        compiler: _Compiler,
        parent: _BlockBuilder | None,
        args: Sequence[str],
        forwards: bool = False,
        handed_on: bool = False,
    ) -> None:
        self._compiler = compiler
        self._parent = parent
        self._template: list[Any] = []
        self._slots: dict[str, int] = {}
        self._captures: list[tuple[int, int]] = []
        self._instructions: list[Instruction] = []
        self._known: set[int] = set()  # slots that hold a value from the start
        self._handed_on = handed_on
        self._end = Code.FORWARD if forwards or handed_on else Code.YIELD
        self._before: dict[str, str] = {}
        for name in args:
            slot = self._new_slot(PENDING)
            self._slots[name] = slot
            self._known.add(slot)

    def _new_slot(self, value: Any) -> int:
        self._template.append(value)
        return len(self._template) - 1

    def slot(self, name: str) -> int:
        """Return the slot of a value, captured from the enclosing region where it is not ours."""
        if name not in self._slots:
            assert self._parent is not None  # the verifier's rule `scopes`
            inner = self._new_slot(PENDING)
            self._captures.append((self._parent.slot(name), inner))
            self._slots[name] = inner
        return self._slots[name]

    def build(self, region: Region) -> Block:
        """Compile a region; called once."""
        token_in = token = NO_SLOT
        if any(self._compiler.has_effect(op) for op in region.ops):
            token_in = token = self._new_slot(PENDING)
        sole = streamed_once(region, handed_on=self._handed_on)
        # An effect of a list's own makes later effects wait for the whole of it: slowing it down
        # until they have read would be a deadlock. What the result is handed on to has none.
        free = {region.terminator.operands[0].name} if self._handed_on else set()
        self._before = chained(region)
        for op in region.body:
            if op.kind == "const":
                slot = self._new_slot(op.attr("value"))
                self._slots[op.out().name] = slot
                self._known.add(slot)
                continue
            token_out = NO_SLOT
            if self._compiler.has_effect(op):
                token_out = self._new_slot(PENDING)
            name = op.out().name
            alone = name in sole and (token_out == NO_SLOT or name in free)
            self._instructions.append(self._instruction(op, token, token_out, alone))
            token = token_out if token_out != NO_SLOT else token
        operands = tuple(self.slot(value.name) for value in region.terminator.operands)
        self._instructions.append(Instruction(self._end, operands))
        return self._finished(token_in, token)

    def _instruction(self, op: Op, token: int, token_out: int, sole: bool) -> Instruction:
        operands = tuple(self.slot(value.name) for value in op.operands)
        known = len(self._compiler.steps)
        blocks = tuple(
            _BlockBuilder(
                self._compiler, self, [v.name for v in region.args], forwards=op.kind == "if"
            ).build(region)
            for region in op.regions
        )
        result = self._new_slot(PENDING)
        self._slots[op.out().name] = result
        code, limit = _code(op)
        if code is Code.CHOOSE:
            operands, blocks = (*operands, self._begun_ahead(blocks)), ()
        step = self._step(op) if code is Code.CALL else None
        return Instruction(
            code=code,
            operands=operands,
            result=result,
            evaluate=evaluator(op) if code is Code.PURE else None,
            step=step,
            blocks=blocks,
            token_in=token if token_out != NO_SLOT else NO_SLOT,
            token_out=token_out,
            limit=limit,
            sole=sole,
            place=str(op.locs[0]) if op.locs else f"`{op.out().name}`",
            steps=tuple(self._compiler.steps[known:]),
        )

    def _begun_ahead(self, blocks: tuple[Block, ...]) -> int:
        """Begin branches when the region does; return the slot of what runs ahead."""
        slot = self._new_slot(PENDING)
        self._instructions.append(Instruction(Code.AHEAD, result=slot, blocks=blocks))
        return slot

    def _step(self, op: Op) -> Step:
        name = op.out().name
        return self._compiler.step(op, self._before.get(name), name in self._before.values())

    def _finished(self, token_in: int, token_out: int) -> Block:
        users: list[list[tuple[int, bool]]] = [[] for _ in self._template]
        missing = [0] * len(self._instructions)
        for index, found in enumerate(self._instructions):
            streams = found.code in _STREAMING
            waits = found.operands
            if found.code is Code.SKIP:
                waits = ()
            if found.code is Code.CALL and found.token_in != NO_SLOT:
                waits = (*waits, found.token_in)
            for slot in waits:
                users[slot].append((index, streams))
                missing[index] += slot not in self._known
        return Block(
            template=self._template,
            missing=missing,
            instructions=tuple(self._instructions),
            users=tuple(() if s in self._known else tuple(who) for s, who in enumerate(users)),
            initial=tuple(i for i, count in enumerate(missing) if not count),
            captures=tuple(self._captures),
            token_in=token_in,
            token_out=token_out,
        )


def _code(op: Op) -> tuple[Code, int]:
    match op.kind:
        case "call" | "invoke":
            return (Code.SKIP if op.flag("skip") else Code.CALL), 0
        case "map" | "filter":
            return Code[op.kind.upper()], _whole_number(op.attr("concurrency", 0))
        case "loop":
            return Code.LOOP, _whole_number(op.attr("limit"))
        case "if":
            return (Code.CHOOSE if op.flag("speculative") else Code.IF), 0
    return Code.PURE, 0


def _whole_number(value: Attr) -> int:
    assert isinstance(value, int)  # the verifier's rule `types`
    return value
