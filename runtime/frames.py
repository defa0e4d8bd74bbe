"""What a run keeps in memory: frames of slots, and lists that grow while others read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from .program import PENDING, Block

if TYPE_CHECKING:
    from .speculation import Side
    from .state import RunState

DROPPED: Final = object()  # stands in a list for an item that a filter took out


class Owner(Protocol):
    """What started a frame and takes what it yields."""

    def yielded(self, state: RunState, frame: Frame, values: tuple[Any, ...]) -> None:
        """Take the values of the frame's `yield`; other work in it may still go on."""

    def ended(self, state: RunState, frame: Frame) -> None:
        """Learn that every instruction of the frame is done."""


class Frame:
    """One running instance of a block: its slots, and what each instruction still waits for.

    `path` are the indices of the iterations around it. `waiters[slot]` are slots of other frames
    that take the same value once it is known. `side` is the innermost branch around it that began
    ahead of its condition.
    """

    __slots__ = ("block", "missing", "owner", "path", "remaining", "side", "values", "waiters")

    def __init__(
        self, block: Block, owner: Owner, path: tuple[int, ...], side: Side | None = None
    ) -> None:
        """Start with constants known and nothing done."""
        self.side = side
        self.block = block
        self.owner = owner
        self.path = path
        self.values = block.template.copy()
        self.missing = block.missing.copy()
        self.remaining = len(block.instructions)
        self.waiters: dict[int, list[tuple[Frame, int]]] = {}

    def name(self, base: str) -> str:
        """Return the name of an instance here: `speech` and its path, `speech[3]`."""
        return base + "".join(f"[{index}]" for index in self.path) if self.path else base


class Reader(Protocol):
    """A map or filter at work: it takes a list's items as they come, and makes a list."""

    queued: bool

    def advance(self, state: RunState) -> None:
        """Begin as many iterations as there are items and room for."""

    def offer(self, state: RunState, index: int, value: Any) -> None:
        """Take an item, or `DROPPED`; indices come in any order, each once."""

    def close(self, state: RunState, total: int) -> None:
        """Learn how many indices there are; all have been offered."""

    def has_room(self, index: int) -> bool:
        """Tell whether its source may begin the item with this index."""


class Stream:
    """A list that grows: items arrive in any order and keep the index they will have.

    A filter leaves `DROPPED` at the indices it takes out, so that what reads the list never waits
    to learn where an item will stand; they close up only in the finished list. A `sole` stream has
    one reader and hands its items over without keeping them. The `producer` of a stream that a map
    makes is that map; a call, which makes its list at its own pace, has none.
    """

    __slots__ = (
        *("arrived", "done", "gaps", "items", "producer"),
        *("readers", "sole", "total", "waiting"),
    )

    def __init__(self, sole: bool, producer: Reader | None = None) -> None:
        """Start empty, its length not known."""
        self.sole = sole
        self.producer = producer
        self.items: list[Any] = []
        self.arrived = 0
        self.gaps = False
        self.total: int | None = None
        self.done = False
        self.readers: list[Reader] = []
        self.waiting: list[tuple[Frame, int]] = []  # instructions that need the whole list

    def whole(self) -> list[Any]:
        """Return the finished list."""
        return [item for item in self.items if item is not DROPPED] if self.gaps else self.items

    def put(self, state: RunState, index: int, value: Any) -> None:
        """Add an item or `DROPPED`, and pass it to the readers."""
        self.arrived += 1
        if not self.sole:
            self._keep(index, value)
        for reader in self.readers:
            reader.offer(state, index, value)
        if self.arrived == self.total:
            self._finish(state)

    def extend(self, state: RunState, values: Iterable[Any]) -> None:
        """Add items that follow those which are there, in their order."""
        for value in values:
            self.put(state, self.arrived, value)

    def _keep(self, index: int, value: Any) -> None:
        items = self.items
        if index == len(items):
            items.append(value)
        else:
            items.extend([PENDING] * (index + 1 - len(items)))
            items[index] = value
        self.gaps = self.gaps or value is DROPPED

    def follow(self, state: RunState, reader: Reader) -> None:
        """Offer a reader what is there, and from now on what comes."""
        for index, value in enumerate(self.items):
            if value is not PENDING:
                reader.offer(state, index, value)
        if self.done:
            reader.close(state, self.arrived)
        else:
            self.readers.append(reader)

    def expect(self, state: RunState, total: int) -> None:
        """Learn how many indices there will be."""
        self.total = total
        if self.arrived == total:
            self._finish(state)

    def _finish(self, state: RunState) -> None:
        self.done = True
        for frame, index in self.waiting:
            state.satisfy(frame, index)
        for reader in self.readers:
            reader.close(state, self.arrived)
        self.waiting, self.readers = [], []
