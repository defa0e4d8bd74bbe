"""How the instructions that hold regions run: maps, filters, loops and branches."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from .frames import DROPPED, Frame, Reader, Stream
from .messages import Failure
from .program import NO_SLOT, Code, Instruction
from .speculation import Side, stopped, undecided

if TYPE_CHECKING:
    from .state import RunState


class Root:
    """Owns the frame of the workflow's body; hands the result on to `sink` where there is one."""

    def __init__(self, sink: Sink | None = None) -> None:
        """Keep nothing yet."""
        self._sink = sink

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Keep the workflow's result, or hand it on."""
        if self._sink is None:
            state.result = values[0]
        else:
            self._sink.take(state, values[0])

    def ended(self, state: RunState, frame: Frame) -> None:
        """Every step is done."""
        state.complete()


class Sink:
    """Hands the items of the workflow's result on in their order, as they come.

    What has come out of order waits here. Where this is the list's one reader, the list grows no
    faster than that allows: an item that takes long holds back those far behind it.
    """

    __slots__ = ("_next", "_pending", "_producer", "_window", "queued")

    def __init__(self, window: int) -> None:
        """Begin with the first item; about `window` may wait."""
        self._window = window
        self._next = 0
        self._pending: dict[int, Any] = {}
        self._producer: Reader | None = None
        self.queued = False

    def take(self, state: RunState, result: Any) -> None:
        """Take the result: a list, or one that still grows."""
        if type(result) is not Stream:
            state.hand_on(result)
            return
        self._producer = result.producer if result.sole else None
        result.follow(state, self)

    def offer(self, state: RunState, index: int, value: Any) -> None:
        """Take an item, or its gap."""
        self._pending[index] = value
        if index == self._next:
            state.advance(self)

    def close(self, state: RunState, total: int) -> None:
        """Learn that all has been offered: what is left is handed on without this."""

    def has_room(self, index: int) -> bool:
        """Tell whether an item may be begun; the one that others wait for always may."""
        return len(self._pending) < self._window or index <= self._next

    def advance(self, state: RunState) -> None:
        """Hand on what stands in a row."""
        items = []
        while self._next in self._pending:
            item = self._pending.pop(self._next)
            self._next += 1
            if item is not DROPPED:
                items.append(item)
        state.hand_on(items)
        if self._producer is not None:
            state.advance(self._producer)


class Branch:
    """An `if` whose condition is known: one of its regions runs."""

    __slots__ = ("_frame", "_instruction")

    def __init__(self, state: RunState, frame: Frame, instruction: Instruction) -> None:
        """Start the region the condition chooses."""
        self._frame, self._instruction = frame, instruction
        block = instruction.blocks[0 if frame.values[instruction.operands[0]] else 1]
        child = state.spawn(block, frame, self, ())
        if instruction.token_out == NO_SLOT:
            return
        token = (frame, instruction.token_in)
        if block.token_in != NO_SLOT:
            state.link(token, (child, block.token_in))
            token = (child, block.token_out)
        state.link(token, (frame, instruction.token_out))

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Pass the value on; a list may still be growing."""
        state.resolve(self._frame, self._instruction.result, values[0])

    def ended(self, state: RunState, frame: Frame) -> None:
        """The branch is done, and so is the `if`."""
        state.finish(self._frame, self._instruction)


class Loop:
    """A `repeat`: one iteration after the other, until its condition holds or its limit comes."""

    __slots__ = ("_count", "_frame", "_instruction", "_live", "_over", "_token")

    def __init__(self, state: RunState, frame: Frame, instruction: Instruction) -> None:
        """Start the first iteration with the first carried values."""
        self._frame, self._instruction = frame, instruction
        self._count = self._live = 0
        self._over = False
        self._token = (frame, instruction.token_in)
        self._iterate(state, state.read(frame, instruction))

    def _iterate(self, state: RunState, carried: tuple[Any, ...]) -> None:
        block = self._instruction.blocks[0]
        child = state.spawn(block, self._frame, self, carried, self._count)
        self._count += 1
        self._live += 1
        if block.token_in != NO_SLOT:
            state.link(self._token, (child, block.token_in))
            self._token = (child, block.token_out)

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Go on, or give the result: `values` are result, stop condition, next carried values."""
        if not values[1] and self._count < self._instruction.limit:
            self._iterate(state, values[2:])
            return
        self._over = True
        state.resolve(self._frame, self._instruction.result, values[0])
        if self._instruction.token_out != NO_SLOT:
            state.link(self._token, (self._frame, self._instruction.token_out))

    def ended(self, state: RunState, frame: Frame) -> None:
        """An iteration is done; the loop is when it was the last and none before is running."""
        self._live -= 1
        if self._over and not self._live:
            state.finish(self._frame, self._instruction)


class Item(Side):
    """One iteration of a map that goes on without it when it fails: a side that is never chosen."""

    __slots__ = ("_map", "index", "yielded")

    def __init__(self, outer: Side | None, run: MapRun, index: int) -> None:
        """Begin with nothing yielded."""
        super().__init__(outer)
        self._map = run
        self.index = index
        self.yielded = False

    def holds(self, failure: Failure) -> bool:
        """Tell whether others may fare better: not where an engine stays away."""
        return not failure.gone

    def lost(self, state: RunState) -> None:
        """Leave a gap."""
        assert self.failure is not None  # that is why
        state.losses.add(self.failure)
        self._map.without(state, self)

    def end(self) -> None:
        """Leave what is around it: nothing of it can fail any more."""
        around = undecided(self.outer)
        if around is not None:
            around.inner.pop(self, None)


class MapRun:
    """A `map` or `filter` at work: at most `window` iterations at a time, in no fixed order.

    Only where iterations hold effects are they begun in item order: the token goes from each to the
    next, so an iteration that waits for one not begun could fill the window for ever. Where
    the result has one reader, iterations are begun no faster than it begins its own.
    """

    __slots__ = (
        *("_ahead", "_begun", "_concluded", "_frame", "_instruction", "_items", "_live", "_low"),
        *("_out", "_pending", "_producer", "_token", "_total", "queued", "window"),
    )

    def __init__(self, state: RunState, frame: Frame, instruction: Instruction) -> None:
        """Publish the growing result, then take items from the source."""
        self._frame, self._instruction = frame, instruction
        self._out = Stream(instruction.sole, self)
        self._begun = self._live = 0
        self._low = 0  # the lowest index not begun, and those begun above it
        self._ahead: set[int] = set()
        self._concluded = False
        self._items: Sequence[Any] = ()  # a source that is complete
        self._pending: list[tuple[int, Any]] = []  # a heap: offered by a growing one, not begun
        self._total: int | None = None
        self._token = (frame, instruction.token_in)
        self._producer: Reader | None = None  # whom to tell that there is room again
        self.queued = False
        self.window = instruction.limit or state.limits.window
        state.resolve(frame, instruction.result, self._out)
        source = frame.values[instruction.operands[0]]
        if type(source) is Stream:
            self._producer = source.producer if source.sole else None
            source.follow(state, self)
        else:
            self._items = source
            self.close(state, len(source))

    # ---- as a reader of its source

    def offer(self, state: RunState, index: int, value: Any) -> None:
        """Take an item of the source, to be begun when there is room."""
        if stopped(self._frame.side):
            return
        heappush(self._pending, (index, value))
        state.advance(self)

    def close(self, state: RunState, total: int) -> None:
        """Learn how long the source is."""
        self._total = total
        self._out.expect(state, total)
        state.advance(self)

    def has_room(self, index: int) -> bool:
        """Tell whether its source may begin an item.

        The first item not begun here always may: where effects need it, all others wait for it.
        """
        return len(self._pending) < self.window or index <= self._low

    # ---- as the owner of its iterations

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Put an iteration's value, or for a filter the item or its gap, into the result."""
        value = values[0]
        if type(frame.side) is Item:
            frame.side.yielded = True
        if self._instruction.code is Code.FILTER:
            value = frame.values[0] if value else DROPPED
        self._out.put(state, frame.path[-1], value)

    def ended(self, state: RunState, frame: Frame) -> None:
        """An iteration is done: there is room for another."""
        if type(frame.side) is Item:
            frame.side.end()
        self._live -= 1
        state.advance(self)

    def without(self, state: RunState, item: Item) -> None:
        """Go on without an iteration that failed."""
        item.end()
        if not item.yielded:
            self._out.put(state, item.index, DROPPED)
        self._live -= 1
        state.advance(self)

    # ---- beginning iterations

    def advance(self, state: RunState) -> None:
        """Begin as many iterations as there are items and room for."""
        if stopped(self._frame.side):
            return
        while self._live < self.window:
            index = self._next()
            if index is None or not self._reader_has_room(index):
                break
            if not self._take(state, index):
                return
        if self._producer is not None:
            state.advance(self._producer)
        if self._begun == self._total:
            self._conclude(state)

    def _next(self) -> int | None:
        """Return the index to begin next, None where there is none now."""
        if self._begun < len(self._items):
            return self._begun
        if not self._pending:
            return None
        index = self._pending[0][0]
        in_order = self._instruction.token_out != NO_SLOT
        return None if in_order and index != self._begun else index

    def _reader_has_room(self, index: int) -> bool:
        out = self._out
        return not out.sole or not out.readers or out.readers[0].has_room(index)

    def _take(self, state: RunState, index: int) -> bool:
        """Begin an item, or leave its gap; False where it could not be read."""
        try:
            value = heappop(self._pending)[1] if self._pending else self._items[index]
        except OSError as error:  # a list that stays in its file
            state.fail(self._frame, Failure(self._instruction.place, None, str(error), 1))
            return False
        self._begun += 1
        self._ahead.add(index)
        while self._low in self._ahead:
            self._ahead.remove(self._low)
            self._low += 1
        if value is DROPPED:
            self._out.put(state, index, DROPPED)
        else:
            self._begin(state, index, value)
        return True

    def _begin(self, state: RunState, index: int, value: Any) -> None:
        block = self._instruction.blocks[0]
        self._live += 1
        side = None
        if state.limits.keep_going and block.token_in == NO_SLOT:
            side = Item(self._frame.side, self, index)
        child = state.spawn(block, self._frame, self, (value,), index, side)
        if block.token_in != NO_SLOT:
            state.link(self._token, (child, block.token_in))
            self._token = (child, block.token_out)

    def _conclude(self, state: RunState) -> None:
        """Every iteration has begun: pass the token on, and end with the last of them."""
        if not self._concluded and self._instruction.token_out != NO_SLOT:
            state.link(self._token, (self._frame, self._instruction.token_out))
        self._concluded = True
        if not self._live:
            self._total = None  # so that this happens once
            state.finish(self._frame, self._instruction)
