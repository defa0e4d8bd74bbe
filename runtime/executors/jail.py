"""Puts one process behind bars, then becomes it: the child half of `sandbox.py` (Linux).

Run as a script, with the standard library only. It reads a job from standard input, takes new
user, mount, network, process, IPC and host-name namespaces (no network at all, no other process),
builds a root that holds nothing but the system's libraries and Python read-only and a small
memory file system to write to, sets limits, forbids system calls that start processes or undo any
of this, and executes `judge.py`. What it cannot do it reports, and nothing is run.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any, NamedTuple, NoReturn

_NEW_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000
_NOBODY = 65534  # not 0: whoever is not root loses every capability when the judge is executed
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_WORK_BYTES = 64 << 20
_WORK_FILES = 16_384
_VISIBLE = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


class _Calls(NamedTuple):
    """Numbers of an architecture: its audit name, two system calls, and those to forbid."""

    audit_name: int
    clone: int
    pivot_root: int
    forbidden: frozenset[int]


# Forbidden (linux/unistd.h): new processes, tracing, mounts and namespaces, leaving the process
# group, sockets (but for pairs, which event loops need), and corners of the kernel that no test
# needs (keys, bpf, perf, io_uring, userfaultfd, reading other memory). Since Linux 5.1 new calls
# have one number on every architecture.
_X86_64 = {57, 58, 101, 109, 112, 155, 157, 161, 165, 166, 248, 249, 250, 272, 298, 308, 310, 311}
_AARCH64 = {39, 40, 41, 51, 97, 117, 154, 157, 167, 217, 218, 219, 241, 268, 270, 271, 280, 282}
_EVERYWHERE = {425, 428, 429, 430, 431, 432, 433, 442}
_CALLS = {
    "x86_64": _Calls(0xC000003E, 56, 155, frozenset(_X86_64 | {41, 321, 323} | _EVERYWHERE)),
    "aarch64": _Calls(0xC00000B7, 220, 41, frozenset(_AARCH64 | {198} | _EVERYWHERE)),
}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_X32_CALLS = 0x40000000  # x86-64's second table of calls, by which a filter can be passed
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

_libc = ctypes.CDLL(None, use_errno=True)


def main(root: str, verdict: int) -> NoReturn:
    """Jail this process at the empty folder `root` and judge the job; never returns."""
    job = json.load(sys.stdin)
    try:
        _take_namespaces()
        child = os.fork()  # the first process of the new process namespace
        if child == 0:
            _enter(root, job)
    except OSError as error:
        os.write(verdict, json.dumps({"unavailable": str(error)}).encode())
        os._exit(1)
    if child == 0:
        python, judge = job["python"], "/work/judge.py"
        os.execve(python, [python, "-I", "-S", "-B", judge, str(verdict)], {})
    os.close(verdict)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _take_namespaces() -> None:
    if platform.machine() not in _CALLS:
        raise OSError(f"no list of system calls for `{platform.machine()}` processors")
    user, group = os.geteuid(), os.getegid()
    _checked("prctl(PDEATHSIG)", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    _checked("unshare", _libc.unshare(_NEW_NAMESPACES))
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_NOBODY} {user} 1")
    _write("/proc/self/gid_map", f"{_NOBODY} {group} 1")


def _enter(root: str, job: dict[str, Any]) -> None:
    _checked("prctl(PDEATHSIG)", _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    _build_root(root, job["prefix"])
    for name in ("judge", "solution", "tests"):
        _write(f"{root}/work/{name}.py", job[name])
    os.chdir(root)
    pivot_root = _CALLS[platform.machine()].pivot_root
    _checked("pivot_root", _libc.syscall(pivot_root, b".", b"."))
    _checked("umount", _libc.umount2(b".", _MNT_DETACH))  # the old root, now under the new one
    os.chdir("/work")
    for limit, value in job["limits"].items():
        resource.setrlimit(getattr(resource, limit), (value, value))
    _forbid_calls()


def _build_root(root: str, prefix: str) -> None:
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)  # nothing mounted here is seen outside
    bounds = f"size={_WORK_BYTES},nr_inodes={_WORK_FILES},mode=755"
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, bounds)
    os.makedirs(f"{root}/work")
    inside = any(prefix == top or prefix.startswith(f"{top}/") for top in _VISIBLE)
    for path in (*_VISIBLE, *_DEVICES, *(() if inside else (prefix,))):
        if os.path.islink(path):
            os.symlink(os.readlink(path), f"{root}{path}")
        elif os.path.exists(path):
            _show(path, f"{root}{path}")


def _show(path: str, place: str) -> None:
    """Make a folder or file of the host visible at `place`, read-only with all it contains."""
    if os.path.isdir(path):
        os.makedirs(place, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        _write(place, "")
    _mount(path, place, None, _MS_BIND | _MS_REC)
    if path in _DEVICES:
        return  # a read-only /dev/null could not be written to
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    done = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, place.encode(), _AT_RECURSIVE, attributes, len(attributes)
    )
    _checked("mount_setattr", done)


def _forbid_calls() -> None:
    """Install a seccomp filter (linux/filter.h): the listed calls fail, threads stay possible."""
    calls = _CALLS[platform.machine()]
    load, if_equal, if_at_least, if_bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    refused = _REFUSE | errno.EPERM
    program = [
        (load, 0, 0, 4),  # the audit name of the architecture
        (if_equal, 1, 0, calls.audit_name),
        (give, 0, 0, _KILL),
        (load, 0, 0, 0),  # the number of the call
        (if_at_least, 0, 1, _X32_CALLS),
        (give, 0, 0, refused),
        (if_equal, 0, 1, _CLONE3),
        (give, 0, 0, _REFUSE | errno.ENOSYS),  # its flags are out of sight; libc falls back
    ]
    for number in sorted(calls.forbidden):
        program += [(if_equal, 0, 1, number), (give, 0, 0, refused)]
    program += [
        (if_equal, 0, 3, calls.clone),
        (load, 0, 0, 16),  # its first argument, the flags
        (if_bits, 1, 0, _CLONE_THREAD),
        (give, 0, 0, refused),
        (give, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HP", len(program), ctypes.addressof(code))
    _checked("prctl(NO_NEW_PRIVS)", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked("prctl(SECCOMP)", _libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0))


def _mount(source: str | None, place: str, kind: str | None, flags: int, data: str = "") -> None:
    texts = [text.encode() if text is not None else None for text in (source, place, kind)]
    _checked(f"mount {place}", _libc.mount(*texts, ctypes.c_ulong(flags), data.encode()))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)


def _checked(what: str, result: int) -> None:
    if result != 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
