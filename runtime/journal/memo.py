"""What a run notes in its journal for whoever takes it up: with which files it was begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from .database import unusable

if TYPE_CHECKING:
    from .journal import Journal


@dataclass(frozen=True, slots=True)
class Memo:
    """What is not in the plan: libraries (absolute paths), and endpoints by executor.

    A `disposable` journal is deleted once the result is told; `results` is the file that it goes
    to, None where it goes to who asked for it.
    """

    libraries: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    disposable: bool = False
    results: str | None = None

    def to_json(self) -> str:
        """Return the form that a journal keeps."""
        return json.dumps(asdict(self))


def memo_of(journal: Journal) -> Memo:
    """Return what was noted; raises `InputError` where that is damaged."""
    damaged = unusable(journal.path, "what it says of libraries and endpoints is damaged")
    try:
        found = Memo(**json.loads(journal.header.memo))
        texts = [*found.libraries, *found.endpoints, *found.endpoints.values()]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    if not all(isinstance(text, str) for text in [*texts, found.results or ""]):
        raise damaged
    return found
