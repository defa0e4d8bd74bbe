"""`mkb` as a process of its own, for what signals, limits and its environment do to it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path


def started(
    folder: Path,
    *arguments: str,
    largest_file: int | None = None,
    alone: bool = False,
    **environment: str,
) -> subprocess.Popen[str]:
    """Start a command in a folder; none of its files may grow beyond so many bytes.

    It is `alone` in a process group of its own.
    """
    limit = None
    if largest_file is not None:
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest_file, largest_file))
    return subprocess.Popen(
        [sys.executable, "-m", "murakkab", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        process_group=0 if alone else None,
    )


def ran(
    folder: Path, *arguments: str, largest_file: int | None = None, **environment: str
) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, and what it wrote."""
    process = started(folder, *arguments, largest_file=largest_file, alone=False, **environment)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err or "--debug" in arguments
    return process.returncode, out, err
