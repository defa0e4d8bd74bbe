"""Keeps one server: starts it in a process group of its own, and ends the group when told to.

Run by file as `python -I keeper.py [--lifeline] COMMAND…`, with nothing but the standard library,
so that it is up in a few milliseconds and needs no environment of its own.

The group ends when the keeper gets SIGTERM or SIGINT, when the server's first process ends, and,
with `--lifeline`, when standard input closes: its other end is held by whoever started the keeper
and by nobody else, so it closes however that process dies, kill -9 included. Should the keeper
itself be killed, the kernel ends the server's first process (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

GRACE_S = 10.0  # between asking a server to end and ending it
KILLED = 128 + signal.SIGKILL  # this process's exit status where the server's was killed, as shells
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes  # in the keeper's own process only

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _end(group: int) -> None:
    """End a process group: ask, wait, then kill; returns when none of it is left."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(group, number)
            # a stopped process does not get what it is asked before it goes on
            os.killpg(group, signal.SIGCONT)
        except ProcessLookupError:
            return
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s:
            _reap()
            if not _group_lives(group):
                return
            time.sleep(0.05)


def _reap() -> None:
    """Collect orphans of the group: as their subreaper this process is their parent now."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return


def main(arguments: list[str]) -> int:
    """Keep the server of a command until one of the ends above; return its exit status."""
    lifeline = arguments[0] == "--lifeline"
    command = arguments[lifeline:]
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # A signal, the server's end and the lifeline's all become something to read.
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    watched = [wake, 0] if lifeline else [wake]
    code = None
    while code is None and not asked:
        ready = select.select(watched, [], [])[0]
        if wake in ready:
            os.read(wake, 1024)
        if 0 in ready and not os.read(0, 1024):
            break
        code = server.poll()
    _end(server.pid)
    if code is None:
        return 0
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
