"""`run_tests`: Python code that nobody has read, run where it can do no harm (Linux)."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypedDict

from .errors import ExecutorError

_OUTPUT_BYTES = 1 << 20  # of what is printed and of each file written
_REPORT_CHARACTERS = 4000
_THREADS, _OPEN_FILES = 64, 64
_VERDICT_BYTES = 1 << 16
_HERE = Path(__file__).parent


class Report(TypedDict):
    """Whether the tests passed, and what they and the code said, shortened to its end."""

    passed: bool
    report: str


def run_tests(code: str, tests: str, *, timeout_s: float = 10.0, memory_mb: int = 512) -> Report:
    """Run tests on Python code in a subprocess that reaches nothing outside.

    The tests are statements (`assert f(2) == 4`), functions `test_…` or unittest `TestCase`s; they
    see the names of the code and may `import solution`. The process has this Python's standard
    library, no network, no other process, no file of this machine but the system's libraries, an
    empty environment, 64 MiB of memory to write files to, `timeout_s` seconds of time on the clock
    and `memory_mb` MiB of address space; it may start threads but no process. This keeps the
    machine safe from the code; it does not keep code from forging its own verdict.

    Raises `ExecutorError` where the kernel does not allow such isolation: nothing is run then.
    """
    with (
        tempfile.TemporaryDirectory(prefix="murakkab-jail-") as root,
        tempfile.TemporaryFile() as out,
    ):
        verdict, in_time = _run(_job(code, tests, timeout_s, memory_mb), root, out, timeout_s)
        out.seek(0)
        printed = out.read(_OUTPUT_BYTES).decode(errors="replace")
    if "unavailable" in verdict:
        raise ExecutorError(_refusal(verdict["unavailable"]))
    summary = verdict.get("summary")
    if not in_time:
        summary = f"stopped after {timeout_s:g} s"
    elif summary is None:
        summary = f"the process ended before its tests did (limit: {memory_mb} MiB of memory)"
    report = "\n".join(part for part in (printed.strip()[-_REPORT_CHARACTERS:], summary) if part)
    return Report(passed=in_time and verdict.get("passed") is True, report=report)


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Return why `run_tests` cannot run here, or None where it can; tries it once, for 0.1 s."""
    if not sys.platform.startswith("linux"):
        return _refusal("it needs Linux")
    try:
        run_tests("", "")
    except ExecutorError as error:
        return error.message
    return None


def _refusal(reason: str) -> str:
    return (
        f"code cannot be isolated on this machine ({reason}), so it was not run; allow "
        "unprivileged user namespaces (in a container: `--security-opt seccomp=unconfined` or "
        "`--cap-add SYS_ADMIN`), or choose another executor"
    )


def _job(code: str, tests: str, timeout_s: float, memory_mb: int) -> dict[str, Any]:
    return {
        "solution": code,
        "tests": tests,
        "judge": (_HERE / "judge.py").read_text(encoding="utf-8"),
        "python": os.path.realpath(sys.executable),  # of a virtual environment: its base
        "prefix": os.path.realpath(sys.base_prefix),
        "limits": {
            "RLIMIT_AS": memory_mb << 20,
            "RLIMIT_CPU": math.ceil(timeout_s) + 1,
            "RLIMIT_FSIZE": _OUTPUT_BYTES,
            "RLIMIT_NPROC": _THREADS,
            "RLIMIT_NOFILE": _OPEN_FILES,
            "RLIMIT_CORE": 0,
        },
    }


def _run(
    job: dict[str, Any], root: str, out: IO[bytes], timeout_s: float
) -> tuple[dict[str, Any], bool]:
    """Run the jail; returns the verdict (empty if there is none) and whether it ended in time."""
    reading, writing = os.pipe()
    in_time = True
    with os.fdopen(reading, "rb") as verdict:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(_HERE / "jail.py"), root, str(writing)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={},
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        try:
            process.communicate(json.dumps(job).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            in_time = False
        finally:
            _end(process)
        return _parsed(verdict.read(_VERDICT_BYTES)), in_time


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group; the jail's first process takes its namespace with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of it has ended
    finally:
        process.wait()


def _parsed(verdict: bytes) -> dict[str, Any]:
    try:
        found = json.loads(verdict)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
