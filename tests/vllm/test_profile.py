"""`mkb profile` of real servers: one that runs, and one that it starts and ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from murakkab.targets.profiles import load_profiles

from .models import write_library
from .workflows import ENVIRONMENT

QUICK = ("--isl", "60", "--osl", "40", "--requests", "12", "--repeats", "2", "--loads", "1,8")


def profile(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "murakkab", "profile", *flags, *QUICK, "-o", "p.csv"]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300.0
    )


def test_a_server_that_runs(server_small: str, tmp_path: Path) -> None:
    done = profile(tmp_path, "--endpoint", f"{server_small}/v1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    # how fast the machine was is not asserted; where others use it, a row may contradict another
    assert load_profiles([tmp_path / "p.csv"], shipped=False).tokens["small", "cpu", 0]
    document = json.loads((tmp_path / "p.csv.json").read_text())
    one, eight = document["points"]
    for point in (one, eight):
        assert point["isl_tok"] == pytest.approx(60.0, rel=0.3)
        assert point["osl_tok"] == pytest.approx(40.0, rel=0.3)
        assert point["ttft_s"] and point["tpot_s"]
    assert one["in_flight"] <= 1.01 < eight["in_flight"] <= 8.01
    assert document["subject"]["engine"] == "vllm"
    assert document["subject"]["context"] == 2048


def test_a_model_that_the_server_does_not_have(server_small: str, tmp_path: Path) -> None:
    done = profile(tmp_path, "--endpoint", f"{server_small}/v1", "--model", "large")
    assert done.returncode == 3
    assert f"`{server_small}/v1` serves `small`, not `large`" in done.stderr
    assert not (tmp_path / "p.csv").exists()


def test_a_server_that_is_started_for_it(models: Path, tmp_path: Path) -> None:
    library = write_library(models / "profiled.toml", ["small"])
    done = profile(tmp_path, "--launch", "small", "--library", str(library))
    assert done.returncode == 0, done.stderr
    profiles = load_profiles([tmp_path / "p.csv"], shipped=False)
    # where others use the machine, the two loads may contradict each other; one is left out then
    assert profiles.tokens["./small", "cpu", 0]
    assert profiles.starts["./small", "cpu", 0] > 1.0
