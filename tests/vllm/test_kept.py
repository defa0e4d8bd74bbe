"""Servers kept between runs: `mkb up`, runs that find them, `mkb down`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .models import write_library
from .served import healthy, processes_of
from .test_replicas import groups_of
from .workflows import ASK, ENVIRONMENT, command, questions


def mkb(folder: Path, *arguments: str) -> Any:
    """Run a command that must succeed; return its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "murakkab", *arguments, "--json"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300.0,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_servers_are_kept_found_and_ended(models_apart: Path, tmp_path: Path) -> None:
    library = write_library(models_apart / "kept.toml", ["small"])
    run = command(tmp_path, ASK.replace("minimize latency", ""), questions(20), library)
    up = mkb(tmp_path, "up", "w.mkb", "--target", "vllm", "--library", str(library))
    try:
        (server,) = up["servers"]
        assert healthy(server["url"].removesuffix("/v1"))
        for _ in range(2):
            done = subprocess.run(run, cwd=tmp_path, env=ENVIRONMENT, capture_output=True)
            (engine,) = json.loads(done.stdout)["run"]["engines"]
            assert [s["origin"] for s in engine["servers"]] == ["warm"]
            assert engine["servers"][0]["url"] == server["url"]
        again = mkb(tmp_path, "up", "w.mkb", "--target", "vllm", "--library", str(library))
        assert again["servers"] == up["servers"]
        groups = groups_of(models_apart / "small")
        assert len(groups) == 1
    finally:
        down = mkb(tmp_path, "down")
    assert down["ended"] == up["servers"]
    assert not healthy(server["url"].removesuffix("/v1"))
    assert all(processes_of(group) == [] for group in groups)
    assert mkb(tmp_path, "down")["ended"] == []
