"""Watts while a load is counted: of GPUs by NVML, of which some may not be told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_MEASURE = """
import asyncio, os, pathlib
from murakkab.runtime.profiling.meter import PowerMeter

state = pathlib.Path(os.environ["FAKE_NVML_STATE"])

def gpus(*millijoules):
    rows = (f"H100\\tGPU-{n}\\t{counted}\\t{300000}\\n" for n, counted in enumerate(millijoules))
    state.write_text("".join(rows))

async def main():
    gpus(1000, 5000)
    both, more = PowerMeter((0, 1), {}), PowerMeter((0, 1, 2), {})
    for meter in (both, more):
        meter.begin()
    await asyncio.sleep(0.2)
    gpus(61000, 65000)
    for meter in (both, more):
        meter.end()
    print(both.watts, more.watts)
    for meter in (both, more):
        meter.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the fake is a library for Linux")
def test_gpus_draw_what_their_counters_tell_and_all_of_them_have_to(tmp_path: Path) -> None:
    pytest.importorskip("pynvml")
    source = Path(__file__).parents[1] / "fake_nvml.c"
    made = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, source], check=True)
    state = tmp_path / "state"
    state.write_text("")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LD_LIBRARY_PATH": str(tmp_path),
        "FAKE_NVML_STATE": str(state),
    }
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    both, more = done.stdout.split()
    assert 0.0 < float(both) <= 120.0 / 0.2  # 60 J of each, in 0.2 s at the least
    assert more == "None"
