"""A list whose items stand in a file, a JSON line each: what is known of one too long to hold."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.types import Type


@dataclass(frozen=True)
class ListFile:
    """`kind` is the type of an item, `path` absolute, `count` the length.

    `sha256` is what `values.digest` says of the list.
    """

    kind: Type
    path: str
    sha256: str
    count: int
