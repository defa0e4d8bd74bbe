"""Branches that run ahead of their condition: what belongs to each, and how one is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .frames import Frame
from .program import PENDING, Instruction

if TYPE_CHECKING:
    from .messages import Failure
    from .state import RunState


class Side:
    """One branch of an `if` that runs ahead; `outer` is the one around it, None in the run itself.

    Until it is chosen it holds its calls, its failure and the branches that run ahead inside it;
    from then on those belong to what is around it. Nothing begins in one that is `stopped`.
    """

    __slots__ = ("calls", "chosen", "failure", "inner", "outer", "stopped")

    def __init__(self, outer: Side | None) -> None:
        """Begin undecided."""
        self.outer = outer
        self.calls: dict[int, None] = {}  # as an ordered set: they are cancelled in their order
        self.inner: dict[Side, None] = {}
        self.failure: Failure | None = None
        self.chosen = False
        self.stopped = False
        around = undecided(outer)
        if around is not None:
            around.inner[self] = None

    def holds(self, failure: Failure) -> bool:
        """Tell whether a failure ends no more than this side."""
        return True

    def lost(self, state: RunState) -> None:
        """Learn that a failure has stopped it: that counts once it is chosen."""

    def adopt(self, other: Side) -> None:
        """Take over what a side inside this one holds, which was chosen."""
        self.calls.update(other.calls)
        self.inner.update(other.inner)


def undecided(side: Side | None) -> Side | None:
    """Return the innermost side around here that was not chosen yet, None where all were."""
    while side is not None and side.chosen:
        side = side.outer
    return side


def stopped(side: Side | None) -> bool:
    """Tell whether nothing may begin here any more, because of this side or one around it."""
    while side is not None and not side.stopped:
        side = side.outer
    return side is not None


class Ahead:
    """An `if` both of whose branches have begun; the one chosen later gives its result."""

    __slots__ = ("_chosen", "_done", "_frame", "_instruction", "_sides", "_values")

    def __init__(self, state: RunState, frame: Frame, instruction: Instruction) -> None:
        """Begin the branches, and leave a handle for `choose`."""
        self._frame = frame
        self._instruction = instruction
        self._sides = [Side(frame.side) for _ in instruction.blocks]
        self._values: list[Any] = [PENDING for _ in instruction.blocks]
        self._done = [False for _ in instruction.blocks]
        self._chosen: int | None = None
        for block, side in zip(instruction.blocks, self._sides, strict=True):
            state.spawn(block, frame, self, (), side=side)
        state.resolve(frame, instruction.result, self)
        state.finish(frame, instruction)

    def choose(self, state: RunState, instruction: Instruction) -> None:
        """Go on with the branch the condition chooses, and give the other up."""
        self._instruction = instruction
        self._chosen = 0 if self._frame.values[instruction.operands[0]] else 1
        side, other = self._sides[self._chosen], self._sides[1 - self._chosen]
        around = undecided(side.outer)
        state.stop(other)
        side.chosen = True
        if around is not None:
            around.inner.pop(side, None)
            around.inner.pop(other, None)
            around.adopt(side)
        side.calls, side.inner = {}, {}
        if side.failure is not None:
            state.fail(self._frame, side.failure)
            return
        value = self._values[self._chosen]
        if value is not PENDING:
            state.resolve(self._frame, instruction.result, value)
        if self._done[self._chosen]:
            state.finish(self._frame, instruction)

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Pass the chosen branch's value on, or keep it until one is; a list may be growing."""
        place = self._place(frame)
        self._values[place] = values[0]
        if place == self._chosen:
            state.resolve(self._frame, self._instruction.result, values[0])

    def ended(self, state: RunState, frame: Frame) -> None:
        """A branch is done, and so is the `if` where it is the chosen one."""
        place = self._place(frame)
        self._done[place] = True
        if place == self._chosen:
            state.finish(self._frame, self._instruction)

    def _place(self, frame: Frame) -> int:
        assert frame.side is not None  # it was begun with one
        return self._sides.index(frame.side)
