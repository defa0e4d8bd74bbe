"""What only a GPU can show: vLLM's sleep mode, and joules measured while it works."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.sleep import fall_asleep, is_asleep, wake_up

from .models import write_library
from .served import served
from .workflows import ASK, ENVIRONMENT, command, questions

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _gpu() -> None:
    pynvml: Any = import_module("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"no NVIDIA GPU here: {error}")
    pynvml.nvmlShutdown()


def test_a_server_sleeps_and_wakes(
    models_apart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "1")
    arguments = "--enforce-eager --max-model-len 1024 --enable-sleep-mode"
    with served(models_apart / "small", arguments, tmp_path / "log") as url:
        assert asyncio.run(_sleeps_and_wakes(url)) == [False, True, False]


async def _sleeps_and_wakes(url: str) -> list[bool]:
    client = HttpClient()
    try:
        seen = [await is_asleep(client, url)]
        assert await fall_asleep(client, url) is not None
        seen.append(await is_asleep(client, url))
        await wake_up(client, url)
        return [*seen, await is_asleep(client, url)]
    finally:
        await client.close()


def test_a_run_measures_what_its_gpus_use(models_apart: Path, tmp_path: Path) -> None:
    library = write_library(models_apart / "gpu.toml", ["small"])
    library.write_text(library.read_text().replace('devices = ["cpu"]', 'devices = ["gpu"]'))
    arguments = command(tmp_path, ASK, questions(50), library)
    done = subprocess.run(
        arguments, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=600.0
    )
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    (step,) = run["steps"]
    assert step["energy_basis"] in ("measured", "sampled") and step["energy_j"] > 0.0
    assert run["totals"]["measured"]["gpu_energy_j"] >= step["energy_j"]


def test_servers_kept_on_a_gpu_are_found_by_runs(models_apart: Path, tmp_path: Path) -> None:
    library = write_library(models_apart / "kept.toml", ["small"])
    library.write_text(library.read_text().replace('devices = ["cpu"]', 'devices = ["gpu"]'))
    run = command(tmp_path, ASK, questions(10), library)
    kept = [sys.executable, "-m", "murakkab", "up", "w.mkb", "--target", "vllm"]
    try:
        subprocess.run(
            [*kept, "--library", str(library)], cwd=tmp_path, env=ENVIRONMENT, check=True
        )
        done = subprocess.run(run, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
        (engine,) = json.loads(done.stdout)["run"]["engines"]
        assert [server["origin"] for server in engine["servers"]] == ["warm"]
    finally:
        down = [sys.executable, "-m", "murakkab", "down"]
        subprocess.run(down, cwd=tmp_path, env=ENVIRONMENT, check=True)
