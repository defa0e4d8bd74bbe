"""What a value waits for: steps that must have ended, steps whose items stream into it.

Inside a `for`, a step streams from the steps of the same iteration: it starts when their first item
is out and ends after their last. Outside, it waits for whole lists.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """Steps by how they are waited for.

    after: must have ended. streams: their items flow into this one's. inside: they stream into the
    items of this list; whoever wants the list whole must wait for their end.
    """

    after: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()

    def items(self) -> Waits:
        """Return what an item of this list waits for."""
        return Waits(self.after, self.streams | self.inside)

    def whole(self) -> Waits:
        """Return what a use of the whole value waits for."""
        return Waits(self.after | self.inside, self.streams)


def after(*steps: str) -> Waits:
    """Return the waits of something that needs these steps ended."""
    return Waits(after=frozenset(steps))


def element(step: str) -> Waits:
    """Return the waits of a step's result inside a `for`."""
    return Waits(streams=frozenset((step,)))


def both(*waits: Waits) -> Waits:
    """Return the waits of something made of several values."""
    return Waits(
        frozenset().union(*(w.after for w in waits)),
        frozenset().union(*(w.streams for w in waits)),
        frozenset().union(*(w.inside for w in waits)),
    )


def as_list(items: Waits, *, nested: bool) -> Waits:
    """Return the waits of a list built item by item.

    Inside an outer `for` it streams on, one list an outer item.
    """
    if nested:
        return items
    return Waits(items.after, frozenset(), items.streams | items.inside)
