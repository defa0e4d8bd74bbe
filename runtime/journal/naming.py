"""The names that a journal has calls by: their places in the program, or what they are called with.

A place (`post[2]`) tells a call for good as long as lists are whole. A run that keeps going leaves
items out, and what reads such a list counts others under the same places than the run that is taken
up and has all of them. So from the first loss on, calls are named by their arguments' content, and
which of several such calls they are: `post(5c41b7a90e21d3f8#0)`.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections import Counter

from ..messages import Submit
from ..values import digest
from .codec import can_be_kept

_TABLES = ("step", "effect", "part")
_BY_CONTENT = (
    "SELECT DISTINCT substr(instance, 1, instr(instance, '(') - 1) FROM {} "
    "WHERE instr(instance, '(')"
)
_DIGITS = 16


def step_of(name: str) -> str:
    """Return the step of a call, by the name that a journal has it by."""
    return re.split(r"[\[(]", name, maxsplit=1)[0]


class Names:
    """Names the calls of one run."""

    def __init__(self, journal: sqlite3.Connection | None) -> None:
        """Take what a journal has from before, if there is one."""
        self._journal = journal
        self._asked: Counter[str] = Counter()
        self._others: dict[int, str] = {}  # names that are no places, of calls that go on
        self._by_content: set[str] = set()
        for table in _TABLES if journal is not None else ():
            assert journal is not None
            rows = journal.execute(_BY_CONTENT.format(table))
            self._by_content.update(step for (step,) in rows)

    def __call__(self, call: Submit) -> str:
        """Return the name of a call that was begun here."""
        return self._others.get(call.id, call.instance)

    def begin(self, call: Submit, *, incomplete: bool) -> None:
        """Name a call that begins; lists may be `incomplete`, since items were left out.

        One that the journal has keeps the name it has there.
        """
        known = call.step.name in self._by_content and not self._has(call.instance)
        if not known and not incomplete:
            return
        content = f"{call.step.name}({_content(call)}"
        name = f"{content}#{self._asked[content]})"
        if incomplete or self._has(name):
            self._asked[content] += 1
            self._others[call.id] = name

    def end(self, call: Submit) -> None:
        """Forget the name of a call that has ended."""
        self._others.pop(call.id, None)

    def _has(self, name: str) -> bool:
        assert self._journal is not None  # else there would be no names by content
        queries = (f"SELECT 1 FROM {table} WHERE instance = ?" for table in _TABLES)
        return any(self._journal.execute(query, (name,)).fetchone() for query in queries)


def _content(call: Submit) -> str:
    """Return what tells a call's arguments; where nothing does, what no other call has."""
    if not all(can_be_kept(param.type) for param in call.step.task.params):
        return uuid.uuid4().hex
    try:
        arguments = digest(list(call.args))
    except OSError:  # a file that is gone: its step will say so
        return uuid.uuid4().hex
    return arguments[:_DIGITS]
