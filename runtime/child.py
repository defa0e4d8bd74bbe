"""A child process of the Python worker: a fresh interpreter that makes one call at a time.

It serves every process-pooled executor of a run, so that what they import in common is imported
once. It talks over one socket, ends when that closes, and is killed by the kernel when its parent
dies, so that no run leaves processes behind.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

from .calling import PythonFunction
from .entries import Source
from .errors import CallFailed

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
READY = b"ready"


def main(socket: int, parent: int, ahead: Sequence[tuple[Source, Sequence[str]]]) -> None:
    """Answer calls with `(True, value)` or `(False, (why, retry, untouched))`.

    A call is `(source, arguments, knobs, takes, keep)`: with `keep` its value stays here for the
    next call, whose parameter `takes` gets that very object.
    `ahead` are functions to get ready, with the packages they import; then READY is sent. One that
    cannot be made ready is told by the call that needs it.
    """
    connection = connected(socket, parent)
    functions: dict[Source, PythonFunction] = {}
    for (name, file), packages in ahead:
        functions[(name, file)] = _ready((name, file), packages)
    connection.send_bytes(READY)
    kept: object = None
    while True:
        try:
            source, arguments, knobs, takes, keep = connection.recv()
        except EOFError:
            return
        if takes is not None:
            arguments[takes] = kept
        function = functions.setdefault(source, PythonFunction(source))
        try:
            answer: tuple[bool, object] = (True, function(arguments, knobs))
        except CallFailed as error:
            answer = (False, (error.message, error.retryable, error.untouched))
        try:
            connection.send(answer)
        except OSError:
            raise  # nobody is there any more
        except Exception as error:  # of the value's own methods, or because it is nested too deep
            connection.send((False, (f"returned what cannot be sent on: {error}", False, False)))
        kept = answer[1] if keep else None


def _ready(source: Source, packages: Sequence[str]) -> PythonFunction:
    for package in packages:
        with suppress(ImportError):
            importlib.import_module(package)
    function = PythonFunction(source)
    with suppress(CallFailed):
        function.prepare()
    return function


def connected(socket: int, parent: int) -> Connection:
    """Return the connection to the parent, with whose life this process's ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    # and what SIGTERM does, which may go to the whole group; a program that a call starts gets it
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    _die_with(parent)
    return Connection(socket)


def _die_with(parent: int) -> None:
    if not sys.platform.startswith("linux"):
        return  # the closed socket ends an idle child there; a busy one finishes its call
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above
