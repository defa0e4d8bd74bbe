"""Where a result goes that is too long to hold: a JSON Lines file, written as its items come."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError
from ..ir.types import ListOf, Type
from ..ir.workflow import Workflow
from .list_file import ListFile
from .messages import HandOn, NotTaken
from .values import ListDigest, encode

_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_BUFFER_BYTES = 1 << 20
_HELP = "what was completed is safe where there is a journal: make room, then `mkb run --resume`"


class ResultLines:
    """Writes `PATH.part`, which takes the name `PATH` once it is whole and on the disk.

    A run that ends early leaves it as it is, and the one that takes it up writes it anew: nothing
    is done again for that. Content of media without a file goes to `keep`.
    """

    def __init__(self, kind: Type, path: Path, keep: Callable[[Any], None]) -> None:
        """Open the file; raises `InputError` where that cannot be, or another run writes it."""
        self.path = path
        self._kind = kind
        self._keep = keep
        self._digest = ListDigest()
        self._part = path.with_name(path.name + ".part")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._part, flags, 0o666)
            self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise _unwritable(path, (error.strerror or str(error)).lower()) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            message = f"another run is writing `{self._part}`"
            hint = "name another file, or wait until that run has ended"
            raise InputError(Diagnostic("results-in-use", message, help=hint)) from None
        self._file.truncate()

    def take(self, command: HandOn) -> NotTaken | None:
        """Write the next items, or say why that cannot be."""
        try:
            for item in command.items:
                self._keep(item)
                self._digest.add(item)
                self._file.write(_LINE(encode(item)).encode() + b"\n")
        except OSError as error:
            return self._not_taken(error)
        return None

    def finish(self) -> ListFile | NotTaken:
        """Give the file its name and say what it holds, or why that cannot be."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self._part, self.path)
            self._file.close()
        except OSError as error:
            return self._not_taken(error)
        return ListFile(
            kind=self._kind,
            path=str(self.path.absolute()),
            sha256=self._digest.hexdigest(),
            count=self._digest.count,
        )

    def leave(self) -> None:
        """Stop without a result; what cannot be written any more is lost with it."""
        try:
            self._file.close()
        except OSError:
            return

    def _not_taken(self, error: OSError) -> NotTaken:
        why = (error.strerror or str(error)).lower()
        return NotTaken(f"`{self.path}`", f"cannot be written: {why}", _HELP)


def refuse_unfit(workflow: Workflow, inputs: Mapping[str, Any], path: Path) -> None:
    """Raise `InputError` where a workflow's result cannot go to a file, before it is begun.

    It is no list, there is no such folder, or an input stands there, which is read again when the
    run is taken up.
    """
    if not isinstance(workflow.result, ListOf):
        wanted = "only a list is written to a file"
        message = f"the result of `{workflow.name}` is {workflow.result}, and {wanted}"
        hint = "without `--results` it is printed"
        raise InputError(Diagnostic("result-not-list", message, help=hint))
    for name, value in inputs.items():
        if isinstance(value, ListFile) and Path(value.path).resolve() == path.resolve():
            message = f"the results would take the place of input `{name}`: `{path}`"
            raise InputError(Diagnostic("results-in-use", message, help="name another file"))
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if path.exists() and not path.is_file():  # a device's name must not be taken
        raise _unwritable(path, "it is no ordinary file")
    if not path.parent.is_dir():
        raise _unwritable(path, f"there is no folder `{path.parent}`")


def _unwritable(path: Path, why: str) -> InputError:
    return InputError(Diagnostic("unwritable-file", f"cannot write `{path}`: {why}"))


def lines_of(
    workflow: Workflow, inputs: Mapping[str, Any], path: Path, keep: Callable[[Any], None]
) -> ResultLines:
    """Open the file for a workflow's result; raises `InputError` where that cannot be."""
    refuse_unfit(workflow, inputs, path)
    assert isinstance(workflow.result, ListOf)  # or else it was refused
    return ResultLines(workflow.result.item, path, keep)
