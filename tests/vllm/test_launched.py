"""Servers that a run starts itself: used, ended with it, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from .models import write_library
from .served import processes_of
from .workflows import ASK, ENVIRONMENT, command, questions

_PATIENCE_S = 120.0


def start(folder: Path, library: Path, number: int = 8) -> subprocess.Popen[str]:
    """Start a run that has to launch its server."""
    return subprocess.Popen(
        command(folder, ASK, questions(number), library, "--record", "run/run.json"),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def server_group(model: Path) -> int | None:
    """Return the process group of the server of a model's folder, found by its command line."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # the keeper's command line holds the server's; the server leads a group of its own
        if os.fsencode(model) in words and not any(word.endswith(b"keeper.py") for word in words):
            return os.getpgid(int(entry.name))
    return None


def until(true: Callable[[], bool], run: subprocess.Popen[str] | None = None) -> bool:
    """Wait for something, no longer than the run goes on."""
    until_s = monotonic() + _PATIENCE_S
    while not true():
        if monotonic() > until_s or (run is not None and run.poll() is not None):
            return False
        sleep(0.1)
    return True


def test_a_run_starts_its_server_and_leaves_nothing_of_it(
    models_apart: Path, tmp_path: Path
) -> None:
    library = write_library(models_apart / "launched.toml", ["small"])
    run = start(tmp_path, library)
    assert until(lambda: server_group(models_apart / "small") is not None, run), run.communicate()
    group = server_group(models_apart / "small")
    assert group is not None and group != os.getpgid(run.pid)
    out, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 0, err
    assert len(json.loads(out)["result"]) == 8
    assert processes_of(group) == []


def test_no_server_outlives_a_killed_run(models_apart: Path, tmp_path: Path) -> None:
    library = write_library(models_apart / "killed.toml", ["small"])
    run = start(tmp_path, library)
    # by then the server has processes below its first one
    assert until(lambda: len(processes_of(server_group(models_apart / "small") or -1)) > 2, run)
    group = server_group(models_apart / "small")
    assert group is not None
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert until(lambda: processes_of(group) == [])


def test_a_server_that_cannot_start_is_told_with_its_log(
    models_apart: Path, tmp_path: Path
) -> None:
    library = write_library(models_apart / "failing.toml", ["small"])
    library.write_text(library.read_text().replace("--enforce-eager", "--no-such-flag"))
    run = start(tmp_path, library)
    out, _ = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 3
    message = json.loads(out)["diagnostics"][-1]["message"]
    assert "`small`" in message and "`--no-such-flag`" in message and ".log`" in message
    assert server_group(models_apart / "small") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_interrupted_while_its_server_starts_leaves_nothing(
    models_apart: Path, tmp_path: Path, number: signal.Signals
) -> None:
    library = write_library(models_apart / "interrupted.toml", ["small"])
    run = start(tmp_path, library)
    assert until(lambda: server_group(models_apart / "small") is not None, run), run.communicate()
    group = server_group(models_apart / "small")
    assert group is not None
    run.send_signal(number)
    _, err = run.communicate(timeout=_PATIENCE_S)
    assert run.returncode == 130, err
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert processes_of(group) == []
