"""The run state machine: events in, commands out; it has no clock and does no I/O.

It decides what is ready, what is repeated, and when a run is over. Data flows without barriers:
a step is submitted as soon as its arguments exist, and the items of a `for` go through the
following ones while others are still at work. Effects follow program order (`program.py`), and
never more than `Limits.window` iterations of a `for` are alive, so memory does not grow with it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .attempts import Attempts, Limits, substituted
from .frames import Frame, Owner, Reader, Stream
from .losses import Losses
from .messages import (
    Away,
    Cancel,
    Command,
    Completed,
    Dropped,
    Due,
    Event,
    Fail,
    Failed,
    Failure,
    Finish,
    HandOn,
    Interrupted,
    NotTaken,
    Partial,
    Retired,
    Retry,
    Stopped,
    Submit,
)
from .program import NO_SLOT, PENDING, Block, Instruction, Program
from .regions import Branch, Loop, MapRun, Root, Sink
from .repeats import Repeats
from .speculation import Ahead, Side, stopped, undecided

Place = tuple[Frame, int]


class RunState:
    """One run of a program. `start` and `apply` return what is to be done next."""

    def __init__(self, program: Program, limits: Limits, repeats: Repeats | None = None) -> None:
        """Prepare a run; nothing is ready yet. What else asks again shares the budget `repeats`."""
        self.limits = limits
        self.result: Any = None
        self._program = program
        self._commands: list[Command] = []
        self._ready: deque[Place] = deque()
        self._deliveries: deque[tuple[Frame, int, Any]] = deque()
        self._advances: deque[Reader] = deque()
        self._calls: dict[int, tuple[Frame, Instruction, Submit]] = {}
        self._repeats = repeats or Repeats(limits.policy, limits.window)
        self._attempts = Attempts(limits.policy, self._repeats)
        self._failures: list[Failure] = []
        self.losses = Losses()
        self._complete = self._over = False
        self.unsettled = False  # there is more to do before anything happens: `go_on`
        self.closing = False  # nothing more begins: a step has failed, or
        self.interrupted = False  # the user wants it so, or
        self.stopped: str | None = None  # it may use up no more
        self._handlers: tuple[Callable[[Frame, Instruction], object], ...] = (
            self._pure,
            self._skip,
            self._call,
            lambda frame, instruction: MapRun(self, frame, instruction),
            lambda frame, instruction: MapRun(self, frame, instruction),
            lambda frame, instruction: Branch(self, frame, instruction),
            lambda frame, instruction: Loop(self, frame, instruction),
            self._yield,
            self._forward,
            lambda frame, instruction: Ahead(self, frame, instruction),
            self._choose,
        )  # in the order of `Code`

    @property
    def failures(self) -> int:
        """How many failures count: those of a branch that runs ahead do not, until it is chosen."""
        return len(self._failures)

    @property
    def in_flight(self) -> int:
        """How many steps are submitted, or wait to be repeated."""
        return len(self._calls)

    def start(self, inputs: Sequence[Any]) -> list[Command]:
        """Begin with these values of the workflow's parameters, in their order."""
        body = self._program.body
        sink = Sink(self.limits.window) if self._program.handed_on else None
        frame = Frame(body, Root(sink), ())
        self._begin(frame, inputs)
        if body.token_in != NO_SLOT:
            self.resolve(frame, body.token_in, True)
        return self._settle()

    def go_on(self) -> list[Command]:
        """Do more of what is ready; returns the commands that leads to."""
        return self._settle()

    def apply(self, event: Event) -> list[Command]:
        """Take an event; returns the commands it leads to, in the order to be carried out."""
        match event:
            case Partial():
                self._partial(event)
            case Completed():
                self._completed(event)
            case Failed():
                self._failed(event)
            case Away():
                self._away(event)
            case Due():
                self._due(event)
            case Dropped():
                self._ended(event.id)
            case Interrupted():
                self.closing = self.interrupted = True
            case Stopped(reason) if not self.closing:
                self.closing, self.stopped = True, reason
            case NotTaken(place, error, help) if not self.closing:
                self._failures.append(Failure(place, None, error, 1, help))
                self.closing = True
        return self._settle()

    # ---- events

    def _partial(self, event: Partial) -> None:
        frame, instruction, _ = self._calls[event.id]
        if self.closing or stopped(frame.side):
            return
        growing = frame.values[instruction.result]
        if growing is PENDING:
            growing = Stream(sole=False)
            self.resolve(frame, instruction.result, growing)
        growing.extend(self, event.items)

    def _completed(self, event: Completed) -> None:
        frame, instruction, _ = self._ended(event.id)
        if self.closing or stopped(frame.side):
            return
        growing = frame.values[instruction.result]
        if growing is PENDING:
            self.resolve(frame, instruction.result, event.value)
        else:
            growing.extend(self, event.value[growing.arrived :])
            growing.expect(self, len(event.value))
        if instruction.token_out != NO_SLOT:
            self.resolve(frame, instruction.token_out, True)
        self.finish(frame, instruction)

    def _failed(self, event: Failed) -> None:
        frame, instruction, submit = self._calls[event.id]
        if stopped(frame.side):
            self._ended(event.id)
            return
        after = self._attempts.after(submit, event, closing=self.closing)
        if isinstance(after, Failure):
            self._ended(event.id)
            self.fail(frame, after)
        else:
            self._go_on(frame, instruction, after)

    def _away(self, event: Away) -> None:
        frame, instruction, submit = self._calls[event.id]
        if self.closing or stopped(frame.side):
            self._ended(event.id)
        else:
            self._go_on(frame, instruction, substituted(submit, event.reason))

    def _go_on(self, frame: Frame, instruction: Instruction, after: Retry | Submit) -> None:
        """Have a call attempted again, with the items of its list that are there already."""
        submit = after.submit if isinstance(after, Retry) else after
        growing = frame.values[instruction.result]
        if growing is not PENDING:
            submit = submit._replace(given=tuple(growing.items))
        self._calls[submit.id] = (frame, instruction, submit)
        self._commands.append(after._replace(submit=submit) if isinstance(after, Retry) else submit)

    def _due(self, event: Due) -> None:
        frame, _, submit = self._calls[event.id]
        if self.closing or stopped(frame.side):
            self._ended(event.id)
        else:
            self._commands.append(submit)

    def _ended(self, call: int) -> tuple[Frame, Instruction, Submit]:
        found = self._calls.pop(call)
        side = undecided(found[0].side)
        if side is not None:
            side.calls.pop(call, None)
        return found

    def fail(self, frame: Frame, failure: Failure) -> None:
        """Let nothing more begin; the run ends when nothing is in flight.

        In a branch that runs ahead, only that branch ends, unless it is chosen.
        """
        side = undecided(frame.side)
        while side is not None and not side.holds(failure):
            side = undecided(side.outer)
        if side is None:
            self._failures.append(failure)
            self.closing = True
        elif not side.stopped:
            side.failure = failure
            self.stop(side)
            side.lost(self)

    def stop(self, side: Side) -> None:
        """Let nothing more begin in a branch, and give up its calls."""
        side.stopped = True
        for call in side.calls:
            self._commands.append(Cancel(call, self._calls[call][2].step))
        for inner in side.inner:
            self.stop(inner)
        side.calls, side.inner = {}, {}

    def hand_on(self, items: Sequence[Any]) -> None:
        """Give the next items of the result away."""
        if items:
            self._commands.append(HandOn(items))

    def complete(self) -> None:
        """End the run once what was given up has ended: every instruction of its body is done."""
        self._complete = True

    # ---- the flow of values

    def _settle(self) -> list[Command]:
        ready, deliveries, advances = self._ready, self._deliveries, self._advances
        self.unsettled = False
        left = self.limits.at_once or sys.maxsize
        while not self.closing:
            left -= 1
            if left < 0:
                self.unsettled = True
                break
            if deliveries:
                self.resolve(*deliveries.popleft())
            elif ready:
                frame, index = ready.popleft()
                if frame.side is not None and stopped(frame.side):
                    continue
                instruction = frame.block.instructions[index]
                self._handlers[instruction.code](frame, instruction)
            elif advances:
                reader = advances.popleft()
                reader.queued = False
                reader.advance(self)
            else:
                break
        if self.unsettled:
            pass
        elif self._complete and not self._calls and not self._over:
            self._over = True
            lost = tuple(self.losses.told)
            self._commands.append(Finish(self.result, lost, self.losses.items))
        elif not self._calls and not self._over:
            assert self.closing, "nothing is ready and nothing in flight, but the run is not over"
            self._over = True
            self._commands.append(Fail(tuple(self._failures), self.interrupted, self.stopped))
        commands, self._commands = self._commands, []
        return commands

    def spawn(
        self,
        block: Block,
        parent: Frame,
        owner: Owner,
        args: tuple[Any, ...],
        index: int | None = None,
        side: Side | None = None,
    ) -> Frame:
        """Start a region inside `parent`; `index` is the iteration's, None for a branch.

        `side` is that of a branch which runs ahead.
        """
        path = parent.path if index is None else (*parent.path, index)
        frame = Frame(block, owner, path, side if side is not None else parent.side)
        self._begin(frame, args)
        for outer, inner in block.captures:
            value = parent.values[outer]
            if value is PENDING:
                parent.waiters.setdefault(outer, []).append((frame, inner))
            else:
                self.resolve(frame, inner, value)
        return frame

    def _begin(self, frame: Frame, args: Sequence[Any]) -> None:
        frame.values[: len(args)] = args
        for index in frame.block.initial:
            self._ready.append((frame, index))

    def resolve(self, frame: Frame, slot: int, value: Any) -> None:
        """Give a slot its value; instructions that have all they wait for become ready.

        Those that need a whole list wait until a growing one is finished.
        """
        frame.values[slot] = value
        growing = type(value) is Stream and not value.done
        for index, streams in frame.block.users[slot]:
            if growing and not streams:
                value.waiting.append((frame, index))
            else:
                self.satisfy(frame, index)
        if frame.waiters:
            for other, inner in frame.waiters.pop(slot, ()):
                self._deliveries.append((other, inner, value))

    def satisfy(self, frame: Frame, index: int) -> None:
        """Count one value less that an instruction waits for."""
        frame.missing[index] -= 1
        if not frame.missing[index]:
            self._ready.append((frame, index))

    def link(self, source: Place, target: Place) -> None:
        """Let a slot take the value of another, now or when it is known."""
        frame, slot = source
        if frame.values[slot] is PENDING:
            frame.waiters.setdefault(slot, []).append(target)
        else:
            self._deliveries.append((*target, frame.values[slot]))

    def advance(self, reader: Reader) -> None:
        """Have a map look for room once what is ready has run."""
        if not reader.queued:
            reader.queued = True
            self._advances.append(reader)

    def finish(self, frame: Frame, instruction: Instruction) -> None:
        """Count one instruction of a frame as done.

        What a workflow's own body has done it does not do again: there, steps retire.
        """
        if instruction.steps and type(frame.owner) is Root:
            self._commands.append(Retired(instruction.steps))
        frame.remaining -= 1
        if not frame.remaining:
            frame.owner.ended(self, frame)

    # ---- instructions

    def read(self, frame: Frame, instruction: Instruction) -> tuple[Any, ...]:
        """Return the values of an instruction's operands, lists whole."""
        values = frame.values
        return tuple(
            [
                value.whole() if type(value := values[slot]) is Stream else value
                for slot in instruction.operands
            ]
        )

    def _pure(self, frame: Frame, instruction: Instruction) -> None:
        assert instruction.evaluate is not None  # every `PURE` has one
        try:
            value = instruction.evaluate(*self.read(frame, instruction))
        except ArithmeticError as error:
            iteration = ".".join(map(str, frame.path))
            place = instruction.place + (f", iteration {iteration}" if iteration else "")
            self.fail(frame, Failure(place, None, f"cannot compute this: {error}", 1))
            return
        self.resolve(frame, instruction.result, value)
        self.finish(frame, instruction)

    def _skip(self, frame: Frame, instruction: Instruction) -> None:
        self.resolve(frame, instruction.result, None)
        self.finish(frame, instruction)

    def _call(self, frame: Frame, instruction: Instruction) -> None:
        step = instruction.step
        assert step is not None  # every `CALL` has one
        args = self.read(frame, instruction)
        submit = Submit(self._repeats.first(), frame.name(step.name), step, args, 1)
        self._calls[submit.id] = (frame, instruction, submit)
        side = undecided(frame.side)
        if side is not None:
            side.calls[submit.id] = None
        self._commands.append(submit)

    def _choose(self, frame: Frame, instruction: Instruction) -> None:
        frame.values[instruction.operands[1]].choose(self, instruction)

    def _yield(self, frame: Frame, instruction: Instruction) -> None:
        frame.owner.yielded(self, frame, self.read(frame, instruction))
        self.finish(frame, instruction)

    def _forward(self, frame: Frame, instruction: Instruction) -> None:
        frame.owner.yielded(self, frame, (frame.values[instruction.operands[0]],))
        self.finish(frame, instruction)
