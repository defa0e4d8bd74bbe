"""The journal of a run: what it has completed, so that no crash makes it do that again.

A run is taken up by running its plan anew from the start: the state machine is deterministic, so it
asks for the same calls by the same names, and those that the journal has are answered from it. Only
same plans and inputs may do so. A call of which the journal has some items of a list goes on behind
them, since what reads the list may have been done for them.

An effect is written down before it begins (its intent) and once more when it has a result. One that
began and has none may or may not have happened: it is told and not repeated, unless its executor is
idempotent, which then gets the key it had the first time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ...ir.diagnostics import Diagnostic, InputError
from ...targets.plan import Plan, plan_from_json
from ..messages import Submit
from ..progress import Known
from ..values import digest
from ..worker import Usage
from . import codec
from .database import Header, Lock, check_whole, create, header_of, reading, unusable
from .naming import Names, step_of
from .writer import Statement, Then, Writer

_RESULT = "INSERT OR REPLACE INTO step VALUES (?, ?, ?)"
_PART = "INSERT OR REPLACE INTO part VALUES (?, ?, ?)"
_INTENT = "INSERT OR REPLACE INTO effect VALUES (?, 'begun', NULL)"
_OUTCOME = "UPDATE effect SET state = ?, why = ? WHERE instance = ?"
_FORGET = "DELETE FROM effect WHERE instance = ?"
_CONTENT = "INSERT OR IGNORE INTO content VALUES (?, ?)"
_NAMED = 5
_CLOSE = "UPDATE run SET state = ?, why = ?"


class Restored(NamedTuple):
    """A call that was completed before: its value, and what it consumed then.

    It was `restored` from the journal, or `cached` by another run, which paid for it.
    """

    value: Any
    usage: Usage | None
    how: Known = "restored"


@dataclass(frozen=True, slots=True)
class Begun:
    """An effect that began; unless it is `done`, nobody knows whether it happened.

    `why` is how it failed, where it did.
    """

    done: bool
    why: str | None


class Journal:
    """One run's journal. `begin` and `resume` make it; `open` before use, `close` after it."""

    def __init__(self, path: Path, header: Header, lock: Lock) -> None:
        """Take what was read."""
        self.path = path
        self.header = header
        self.names = Names(None)
        self._lock = lock
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None
        self._left = 0  # completed calls that have not been asked for yet
        self._parts: set[str] = set()
        self._counts: dict[int, int] = {}  # items handed over, by the calls that are at it
        self._has_effects = False
        self._doubtful: set[str] = set()

    # ---- before the run

    @property
    def resumed(self) -> bool:
        """Whether there may be something from before."""
        return self.header.resumed > 0

    def plan(self) -> Plan:
        """Return the plan of the run; raises `InputError` where it is damaged."""
        return plan_from_json(self.header.plan, str(self.path))

    def inputs(self) -> dict[str, Any]:
        """Return the inputs of the run; raises `InputError` where files have changed since."""
        kinds = {param.name: param.type for param in self.plan().module().sole().params}
        found: dict[str, Any] = {}
        try:
            texts: dict[str, Any] = json.loads(self.header.inputs)
            with reading(self.path) as connection:
                for name, kind in kinds.items():
                    found[name] = codec.read_input(kind, texts[name], _Contents(connection))
        except (codec.ValueLost, ValueError, KeyError, TypeError) as error:
            hint = "put it back as it was, or begin the run anew"
            raise unusable(self.path, f"an input cannot be had: {error}", hint) from None
        return found

    def settle(self, instance: str, result: Any, *, again: bool) -> None:
        """Take the user's word on an effect whose outcome is unknown: its result, or `again`.

        Raises `InputError` where its outcome is not in question.
        """
        unknown = self.in_question()
        if instance not in unknown:
            known = ", ".join(f"`{name}`" for name in unknown[:_NAMED]) or "none"
            message = f"what became of `{instance}` is not in question"
            raise InputError(Diagnostic("usage", message, help=f"in question: {known}"))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_FORGET, (instance,))
            if not again:
                text = codec.written(result, lambda sha256, content: None)
                connection.execute(_RESULT, (instance, text, None))
            connection.execute("COMMIT")

    def in_question(self) -> list[str]:
        """Return the effects that began, and of which nobody knows whether they happened."""
        with reading(self.path) as connection:
            query = "SELECT instance FROM effect WHERE state <> 'done' ORDER BY instance"
            return [instance for (instance,) in connection.execute(query)]

    # ---- the run

    def open(self) -> None:
        """Begin to write, in the running event loop."""
        self._writer = Writer(self.path, asyncio.get_running_loop())
        if not self.resumed:
            return
        self._reader = sqlite3.connect(self.path, isolation_level=None)
        self.names = Names(self._reader)
        (self._left,) = self._reader.execute("SELECT count(*) FROM step").fetchone()
        (self._has_effects,) = self._reader.execute(
            "SELECT EXISTS (SELECT 1 FROM effect)"
        ).fetchone()
        rows = self._reader.execute("SELECT DISTINCT instance FROM part")
        self._parts = {instance for (instance,) in rows}

    def restored(self, call: Submit) -> Restored | None:
        """Return what a call gave before, if the journal has it and it can still be had."""
        if not self._left or self._reader is None:
            return None
        row = self._reader.execute(
            "SELECT result, usage FROM step WHERE instance = ?", (self.names(call),)
        ).fetchone()
        if row is None:
            return None
        self._left -= 1
        try:
            value = codec.read(call.step.task.result, row[0], _Contents(self._reader))
        except codec.ValueLost:
            return None
        return Restored(value, _usage(row[1]))

    def paid(self) -> Iterator[tuple[str, Usage | None]]:
        """Yield the steps of the calls that were completed before, and what each consumed."""
        if self._left and self._reader is not None:
            for name, usage in self._reader.execute("SELECT instance, usage FROM step"):
                yield step_of(name), _usage(usage)

    def items(self, call: Submit) -> list[Any]:
        """Return the items of a list that a call handed over before it was cut off."""
        name = self.names(call)
        if name not in self._parts or self._reader is None:
            return []
        self._parts.remove(name)
        rows = self._reader.execute(
            "SELECT begin, items FROM part WHERE instance = ? ORDER BY begin", (name,)
        )
        found: list[Any] = []
        for begin, text in rows:
            try:
                items = codec.read(call.step.task.result, text, _Contents(self._reader))
            except codec.ValueLost:
                break
            found[begin:] = items
        return found

    def begun(self, call: Submit) -> Begun | None:
        """Return what is known of an effect that began before, None where it did not."""
        if not self._has_effects or self._reader is None:
            return None
        row = self._reader.execute(
            "SELECT state, why FROM effect WHERE instance = ?", (self.names(call),)
        ).fetchone()
        if row is None:
            return None
        self.doubt(call)
        return Begun(row[0] == "done", row[1])

    def keep(self, call: Submit, value: Any, usage: Usage | None, then: Then) -> None:
        """Write down that a call is completed; `then` is told when that is safe."""
        self._counts.pop(call.id, None)
        self._put(_Completed(call, self.names(call), value, usage).statements, then)
        self.names.end(call)

    def keep_items(self, call: Submit, items: Sequence[Any], then: Then) -> None:
        """Write down the next items of the list that an attempt at a call hands over."""
        begin = self._counts.get(call.id, len(call.given))
        self._counts[call.id] = begin + len(items)
        self._put(_Items(call, self.names(call), begin, items).statements, then)

    def after(self, call: Submit, then: Then) -> None:
        """Tell when all items are safe that an attempt at a call has handed over."""
        self._counts.pop(call.id, None)
        self._put(lambda: (), then)

    async def intend(self, call: Submit) -> None:
        """Write down that an effect begins; it may once this returns. Raises what went wrong."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(error: Exception | None) -> None:
            if done.done():
                return  # it was stopped before it could begin
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        name = self.names(call)
        self._put(lambda: ((_INTENT, (name,)),), then)
        await done

    def forget(self, call: Submit) -> None:
        """Take the intent of an effect back, which certainly has not happened."""
        name = self.names(call)
        self._put(lambda: ((_FORGET, (name,)),), _ignored)

    def failed(self, call: Submit, why: str) -> None:
        """Write down how an effect ended that may have happened all the same."""
        name = self.names(call)
        self._put(lambda: ((_OUTCOME, ("failed", why, name)),), _ignored)

    def doubt(self, call: Submit) -> None:
        """Note that an effect may have happened, and is not repeated without the user's word."""
        self._doubtful.add(self.names(call))

    def doubts(self) -> tuple[str, ...]:
        """Return the effects that were noted so in this run, which has ended."""
        return tuple(name for name in self.in_question() if name in self._doubtful)

    def close(self, state: str, why: str | None) -> None:
        """Write down how the run ended, and stop."""
        self._put(lambda: ((_CLOSE, (state, why)),), _ignored)
        self.end()

    def end(self) -> None:
        """Write what has come and stop; nothing more may be written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._lock.release()

    def _put(self, entry: Any, then: Then) -> None:
        assert self._writer is not None  # `open` comes first
        self._writer.put(entry, then)


@dataclass(frozen=True, slots=True)
class _Completed:
    call: Submit
    name: str
    value: Any
    usage: Usage | None

    def statements(self) -> Iterator[Statement]:
        step = self.call.step
        if not codec.can_be_kept(step.task.result):
            return
        contents: dict[str, bytes] = {}
        text = codec.written(self.value, contents.__setitem__)
        yield from ((_CONTENT, found) for found in contents.items())
        usage = None if self.usage is None else json.dumps(self.usage)
        yield _RESULT, (self.name, text, usage)
        if step.task.effect:
            yield _OUTCOME, ("done", None, self.name)
        if step.streams:
            yield "DELETE FROM part WHERE instance = ?", (self.name,)


@dataclass(frozen=True, slots=True)
class _Items:
    call: Submit
    name: str
    begin: int
    items: Sequence[Any]

    def statements(self) -> Iterator[Statement]:
        if not codec.can_be_kept(self.call.step.task.result):
            return
        contents: dict[str, bytes] = {}
        text = codec.written(list(self.items), contents.__setitem__)
        yield from ((_CONTENT, found) for found in contents.items())
        yield _PART, (self.name, self.begin, text)


class _Contents:
    """Finds content by its digest."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, sha256: str) -> bytes:
        query = "SELECT bytes FROM content WHERE sha256 = ?"
        row = self._connection.execute(query, (sha256,)).fetchone()
        if row is None:
            raise KeyError(sha256)
        return bytes(row[0])


def _usage(text: str | None) -> Usage | None:
    """Return what a call consumed, None where that is not known, or damaged."""
    try:
        found = json.loads(text) if text is not None else None
    except (ValueError, TypeError):
        return None
    if not isinstance(found, list) or len(found) != len(Usage._fields):
        return None
    return Usage(*found) if all(type(each) in (int, float) for each in found) else None


def _ignored(error: Exception | None) -> None:
    """Leave it: the journal then says less than is known, which is safe."""


def begin(
    path: Path,
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    memo: str = "{}",
) -> Journal:
    """Begin the journal of a new run; raises `InputError` where it cannot be written."""
    text = plan.to_json()
    contents: dict[str, bytes] = {}
    try:
        kept = {n: codec.written(v, contents.__setitem__) for n, v in inputs.items()}
        inputs_sha256 = inputs_digest(inputs)
    except OSError as error:
        raise unusable(path, f"an input cannot be read: {error}") from None
    header = Header(
        id=os.urandom(16).hex(),
        workflow=plan.workflow,
        begun_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        plan=text,
        plan_sha256=hashlib.sha256(text.encode()).hexdigest(),
        inputs=json.dumps(kept),
        inputs_sha256=inputs_sha256,
        state="running",
        why=None,
        resumed=0,
        memo=memo,
    )
    create(path, header, contents)
    return Journal(path, header, Lock(path))


def resume(path: Path) -> Journal:
    """Take up the run of a journal; one that is done gives its result again.

    Raises `InputError` where the file is no journal, is damaged, or is being written.
    """
    with reading(path) as connection:
        header = header_of(connection, path)
        check_whole(connection, path)
    lock = Lock(path)
    header = replace(header, resumed=header.resumed + 1, state="running", why=None)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        values = (header.resumed,)
        connection.execute("UPDATE run SET state = 'running', why = NULL, resumed = ?", values)
    return Journal(path, header, lock)


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of inputs; where media and lists are kept does not matter."""
    return digest({name: digest(inputs[name]) for name in sorted(inputs)})
