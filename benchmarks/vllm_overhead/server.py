"""One warm vLLM server on a core of its own: what it made, and what that cost it.

Its address, the tokens it has made, and the processor time of its processes: bound to one core,
that time is the time for which the server was busy.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

READY_WITHIN_S = 300.0
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server; `url` ends in `/v1`."""

    url: str
    group: int

    def tokens(self) -> float:
        """Return how many tokens it has generated since it began."""
        with urlopen(self.url.removesuffix("/v1") + "/metrics", timeout=30.0) as answer:
            lines = answer.read().decode().splitlines()
        name = "vllm:generation_tokens_total"
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def busy_s(self) -> float:
        """Return the processor seconds of its processes since they began."""
        return sum(map(_cpu_s, self._processes()))

    def _processes(self) -> Iterator[list[str]]:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.group:
                    yield fields


def _cpu_s(fields: list[str]) -> float:
    user, system = fields[11:13]
    return (int(user) + int(system)) / _TICKS_PER_S


@contextmanager
def served(python: str, model: Path, arguments: str, log: Path, core: int) -> Iterator[Server]:
    """Serve a model under its folder's name, all its processes on one core."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", model.name, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--disable-uvicorn-access-log", *shlex.split(arguments)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT,
            start_new_session=True,
        )
    try:
        # two cores load it in half the time; what it starts later inherits its core
        _wait(process, port, log)
        for thread in _threads(process.pid):
            os.sched_setaffinity(thread, {core})
        yield Server(f"http://127.0.0.1:{port}/v1", process.pid)
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until_s = monotonic() + READY_WITHIN_S
    while not _healthy(port):
        if process.poll() is not None or monotonic() > until_s:
            raise SystemExit(f"the server did not get ready:\n{log.read_text()[-2000:]}")
        sleep(0.2)


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _threads(group: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
            yield from (int(task.name) for task in (entry / "task").iterdir())


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
