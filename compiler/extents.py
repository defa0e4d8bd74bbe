"""How large types are when written out: types that nest in types can grow beyond all use."""

from __future__ import annotations

from ..ir.types import ListOf, Option, Record, Type

MAX_PARTS = 1_000
MAX_DEPTH = 100


class Extents:
    """Measures types; parts that several types share are measured once."""

    def __init__(self) -> None:
        """Know nothing yet."""
        # by identity, with the type itself so that the identity stays its own
        self._known: dict[int, tuple[Type, int, int]] = {}

    def too_large(self, kind: Type) -> bool:
        """Tell whether a type has more than MAX_PARTS names, lists and fields, or is too deep.

        To be asked of every type as it is made, so that no type beyond the limits gets parts of
        more: then the recursion here and elsewhere is shallow.
        """
        parts, depth = self._extent(kind)
        return parts > MAX_PARTS or depth > MAX_DEPTH

    def _extent(self, kind: Type) -> tuple[int, int]:
        known = self._known.get(id(kind))
        if known is not None:
            return known[1], known[2]
        inner: tuple[Type, ...] = ()
        match kind:
            case ListOf(item) | Option(item):
                inner = (item,)
            case Record(fields):
                inner = tuple(field for _, field in fields)
        parts, depth = 1, 1
        for part in inner:
            count, below = self._extent(part)
            parts, depth = parts + count, max(depth, below + 1)
        self._known[id(kind)] = (kind, parts, depth)
        return parts, depth
