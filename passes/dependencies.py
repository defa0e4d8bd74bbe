"""What a value waits for: steps that must have ended, steps whose items stream into it.

Inside a `for`, a step streams from the steps of the same iteration: it starts when their first item
is out and ends after their last. Outside, it waits for whole lists.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """Steps by how they are waited for; `inside` are those that stream into a list's items."""

    after: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()

    def items(self) -> Waits:
        """Return what an item of this list waits for."""
        return Waits(self.after - self.inside, self.streams | self.inside)


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

    Outside any `for` the whole list is there when every step that streams into it has ended;
    inside an outer `for` it streams on, one list an outer item.
    """
    if nested:
        return items
    inside = items.streams | items.inside
    return Waits(items.after | inside, frozenset(), inside)


def leaving(waits: Waits) -> Waits:
    """Return the waits of a value that no longer is the list itself, outside any `for`."""
    return Waits(waits.after | waits.streams | waits.inside)
