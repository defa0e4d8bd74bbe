"""Real vLLM servers, started by the tests themselves: what a runtime may attach to."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from urllib.error import URLError
from urllib.request import urlopen

READY_WITHIN_S = 300.0
_GONE_WITHIN_S = 20.0
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # bound to cores one by one, two servers would share the first ones
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def served(model: Path, arguments: str, log: Path) -> Iterator[str]:
    """Serve a model under its folder's name; give the server's URL, without a path."""
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", model.name]
    command += ["--host", "127.0.0.1", "--port", str(port), *shlex.split(arguments)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        end_group(process)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def healthy(url: str) -> bool:
    """Tell whether the server at a URL says that it is well."""
    try:
        with urlopen(f"{url}/health", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def processes_of(group: int) -> list[int]:
    """Return the processes of a process group that are not zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _alive_in(entry, group):
            found.append(int(entry.name))
    return found


def _alive_in(entry: Path, group: int) -> bool:
    try:
        # the name of the program stands in parentheses and may hold anything
        state, _parent, of_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return int(of_group) == group and state != "Z"


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and all of the group; raise where some of it is left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        until_s = monotonic() + _GONE_WITHIN_S
        while processes_of(process.pid) and monotonic() < until_s:
            process.poll()
            sleep(0.05)
    process.wait()
    if left := processes_of(process.pid):
        raise RuntimeError(f"processes {left} of the server are left")


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until_s = monotonic() + READY_WITHIN_S
    while not healthy(url):
        if process.poll() is not None or monotonic() > until_s:
            end = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"the server at {url} did not get ready:\n{end}")
        sleep(0.2)
