"""Steps retire: never before their last call, and all of them by the end."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.messages import (
    Command,
    Completed,
    Due,
    Failed,
    Finish,
    Retired,
    Retry,
    Submit,
)
from murakkab.runtime.program import compile_program
from murakkab.runtime.state import RunState
from murakkab.targets.failure_policy import FailurePolicy

_TASKS = """module placed
task @f(%x: Int) -> Int
task @g(%x: Int) -> Int
task @list(%x: Int) -> [Int]
engine @e
"""


class Shape:
    """A random workflow of calls, maps, filters and branches, to a stated depth."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.values = 0
        self.lines: list[str] = []

    def new(self) -> str:
        self.values += 1
        return f"%v{self.values}"

    def call(self, task: str, arg: str, kind: str) -> str:
        name = self.new()
        self.lines.append(f"{name} = invoke @{task}({arg}) {{engine = @e, executor = @x}} : {kind}")
        return name

    def whole(self, value: str, depth: int) -> str:
        """Add something that makes one Int out of another."""
        kind = self.chance.choice(["call", "call", "map", "filter", "if"] if depth else ["call"])
        if kind == "call":
            return self.call(self.chance.choice("fg"), value, "Int")
        if kind == "if":
            return self.branch(value, depth)
        many = self.call("list", value, "[Int]")
        return self.loop(kind, many, depth)

    def loop(self, kind: str, many: str, depth: int) -> str:
        """Add a `for` over a list; gives how many came out of it."""
        out, item, size = self.new(), self.new(), self.new()
        self.lines.append(f"{out} = {kind}({many}) {{ ^({item}: Int)")
        inner = self.whole(item, depth - 1)
        if kind == "filter":
            zero, kept = self.new(), self.new()
            self.lines += [
                f"{zero} = const() {{value = 2}} : Int",
                f"{kept} = gt({inner}, {zero}) : Bool",
            ]
            inner = kept
        self.lines += [f"yield({inner})", "} : [Int]", f"{size} = len({out}) : Int"]
        return size

    def branch(self, value: str, depth: int) -> str:
        """Add an `if` of which either side may call something."""
        two, big, out = self.new(), self.new(), self.new()
        self.lines += [f"{two} = const() {{value = 2}} : Int", f"{big} = gt({value}, {two}) : Bool"]
        self.lines.append(f"{out} = if({big}) {{")
        self.lines += [f"yield({self.whole(value, depth - 1)})", "} {"]
        self.lines += [f"yield({self.whole(value, depth - 1)})", "} : Int"]
        return out

    def text(self) -> str:
        value = "%x"
        for _ in range(self.chance.randint(1, 3)):
            value = self.whole(value, 2)
        body = "\n".join([*self.lines, f"return({value})"])
        return _TASKS + f"workflow @w(%x: Int) -> Int\n{{\n{body}\n}}\n"


class Watch:
    """Takes commands, and sees to it that nobody calls a step that has retired."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.open: list[Submit] = []
        self.due: list[int] = []
        self.retired: set[str] = set()
        self.over = False

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Retired):
                names = {step.name for step in command.steps}
                assert not names & self.retired, "it retires once"
                self.retired |= names
                # the engine of a step may be parked now
                assert not names & {call.step.name for call in self.open}
            elif isinstance(command, Submit):
                assert command.step.name not in self.retired
                self.open.append(command)
            elif isinstance(command, Retry):
                assert command.submit.step.name not in self.retired
                self.due.append(command.id)
            else:
                assert isinstance(command, Finish)
                self.over = True


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_step_retires_after_its_last_call_and_before_the_end(chance: Random, window: int) -> None:
    program = compile_program(read_module(Shape(chance).text(), "test.mkir"), ())
    watch = Watch(RunState(program, Limits(window, FailurePolicy(attempts=100))))
    watch.take(watch.state.start([chance.randint(0, 5)]))
    while not watch.over:
        if watch.due and (not watch.open or chance.random() < 0.5):
            watch.take(watch.state.apply(Due(watch.due.pop())))
            continue
        call = watch.open.pop(chance.randrange(len(watch.open)))
        if chance.random() < 0.2 and call.attempt < 3:
            watch.take(watch.state.apply(Failed(call.id, "busy", True)))
            continue
        value = chance.randint(0, 5)
        made = [value] * chance.randint(0, 3) if call.step.task.name == "list" else value
        watch.take(watch.state.apply(Completed(call.id, made)))
    assert watch.retired == {step.name for step in program.steps}


CHAIN = """workflow @w(%x: Int) -> Int
{
  %a = invoke @f(%x) {engine = @e, executor = @x} : Int
  %b = invoke @g(%a) {engine = @e, executor = @x} : Int
  return(%b)
}
"""


def test_a_step_of_the_workflows_body_retires_with_its_call() -> None:
    module = read_module(_TASKS + CHAIN, "test.mkir")
    state = RunState(compile_program(module, ()), Limits())
    (first,) = state.start([1])
    assert isinstance(first, Submit)
    commands = state.apply(Completed(first.id, 2))
    retired, submitted = commands
    assert isinstance(retired, Retired) and [step.name for step in retired.steps] == ["a"]
    assert isinstance(submitted, Submit) and submitted.step.name == "b"


@pytest.mark.parametrize("kept", [True, False])
def test_steps_of_a_side_that_is_not_taken_retire_with_the_branch(kept: bool) -> None:
    text = (
        _TASKS
        + """workflow @w(%x: Int) -> Int
{
  %zero = const() {value = 0} : Int
  %some = gt(%x, %zero) : Bool
  %out = if(%some) {
    %a = invoke @f(%x) {engine = @e, executor = @x} : Int
    yield(%a)
  } {
    yield(%x)
  } : Int
  %b = invoke @g(%out) {engine = @e, executor = @x} : Int
  return(%b)
}
"""
    )
    state = RunState(compile_program(read_module(text, "test.mkir"), ()), Limits())
    watch = Watch(state)
    watch.take(state.start([1 if kept else 0]))
    assert watch.retired == (set() if kept else {"a"})
    while not watch.over:
        watch.take(state.apply(Completed(watch.open.pop().id, 7)))
    assert watch.retired == {"a", "b"}
