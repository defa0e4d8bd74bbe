"""Energy of GPUs through the real `pynvml`, which loads an NVML compiled here (`fake_nvml.c`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.runtime.nvml import GpuReading, gpu_energy, share_by_tokens

NOT_SUPPORTED, GPU_IS_LOST = "!3", "!15"

# The loader looks for libraries where LD_LIBRARY_PATH said when the process began, so the fake is
# measured in a process of its own: it is told the second of each sample and answers with readings.
_MEASURE = """
import json, sys
from dataclasses import asdict
from murakkab.runtime.nvml import gpu_energy

now_s = 0.0
gpus, environ = json.loads(sys.stdin.readline())
energy = gpu_energy(gpus, environ, lambda: now_s)
print(json.dumps(energy is not None), flush=True)
for line in sys.stdin:
    if line == "close\\n":
        energy.close()
        energy.close()
    else:
        now_s = float(line)
    print(json.dumps({g: asdict(r) for g, r in energy.sample().items()}), flush=True)
"""

_DETECT = """
import json
from murakkab.targets.detect import detect_host

pool = detect_host().pools[0]
print(json.dumps([pool.gpu.type if pool.gpu else None, pool.gpus]))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the compiled fake."""
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    made = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-Wall", "-shared", "-fPIC", "-o", made, source], check=True)
    return folder


class Machine:
    """A machine whose GPUs a file describes."""

    def __init__(self, library: Path, state: Path) -> None:
        self.state = state
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LD_LIBRARY_PATH": str(library),
            "FAKE_NVML_STATE": str(state),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def gpus(self, *lines: tuple[str, str, int | str, int | str]) -> None:
        """Have GPUs: name, UUID, millijoules counted, milliwatts drawn."""
        text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
        unfinished = self.state.with_suffix(".part")
        unfinished.write_text(text)
        unfinished.replace(self.state)

    def python(self, program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def measure(self, gpus: Sequence[int], visible: str | None = None) -> Measuring | None:
        """Begin to measure in a process of this machine, or learn that it cannot be done."""
        environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        measuring = Measuring(self.python(_MEASURE))
        return measuring if measuring.ask(json.dumps([gpus, environ])) else None

    def detect(self) -> tuple[str | None, int]:
        """Return the type and the number of GPUs that this machine says it has."""
        output, _ = self.python(_DETECT).communicate()
        kind, count = json.loads(output)
        return kind, count


class Measuring:
    """A `GpuEnergy` in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, line: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def sample(self, now_s: float) -> dict[int, GpuReading]:
        return _readings(self.ask(str(now_s)))

    def close_twice(self) -> dict[int, GpuReading]:
        """Return what a sample says after closing, twice."""
        return _readings(self.ask("close"))


def _readings(told: dict[str, Any]) -> dict[int, GpuReading]:
    return {int(gpu): GpuReading(**reading) for gpu, reading in told.items()}


def _about(joules: float) -> Any:
    return pytest.approx(joules)


@pytest.fixture
def machine(library: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(library, tmp_path / "gpus.tsv")
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


H100 = "NVIDIA H100 80GB HBM3"
P100 = "Tesla P100-PCIE-16GB"  # of the generation before the counters


def test_the_counters_of_several_gpus(machine: Machine) -> None:
    machine.gpus((H100, "GPU-a", 5_000_000, 100_000), (H100, "GPU-b", 7_000_000, 200_000))
    energy = machine.measure([0, 1])
    assert energy is not None
    machine.gpus((H100, "GPU-a", 5_002_500, 650_000), (H100, "GPU-b", 7_001_000, 80_500))
    assert energy.sample(1.0) == {
        0: GpuReading(_about(2.5), 650.0, "measured"),
        1: GpuReading(_about(1.0), 80.5, "measured"),
    }
    machine.gpus((H100, "GPU-a", 5_003_000, 650_000), (H100, "GPU-b", 7_001_000, 80_500))
    assert [r.joules for r in energy.sample(2.0).values()] == pytest.approx([3.0, 1.0])


def test_only_the_gpus_of_the_plan_are_measured(machine: Machine) -> None:
    machine.gpus(*((H100, f"GPU-{i}", i, 1000 * i) for i in range(4)))
    energy = machine.measure([3, 1, 7])
    assert energy is not None
    assert {gpu: r.watts for gpu, r in energy.sample(1.0).items()} == {1: 1.0, 3: 3.0}


def test_watts_are_integrated_where_there_is_no_counter(machine: Machine) -> None:
    machine.gpus((P100, "GPU-a", NOT_SUPPORTED, 100_000), (H100, "GPU-b", 0, NOT_SUPPORTED))
    energy = machine.measure([0, 1])
    assert energy is not None
    machine.gpus((P100, "GPU-a", NOT_SUPPORTED, 200_000), (H100, "GPU-b", 500, NOT_SUPPORTED))
    assert energy.sample(2.0) == {
        0: GpuReading(_about(300.0), 200.0, "sampled"),
        1: GpuReading(_about(0.5), None, "measured"),
    }
    assert energy.sample(2.5)[0].joules == pytest.approx(400.0)


def test_a_gpu_that_falls_off_the_bus_keeps_what_was_measured(machine: Machine) -> None:
    machine.gpus((H100, "GPU-a", 1000, 100_000), (P100, "GPU-b", NOT_SUPPORTED, 50_000))
    energy = machine.measure([0, 1])
    assert energy is not None
    machine.gpus((H100, "GPU-a", 3000, 100_000), (P100, "GPU-b", NOT_SUPPORTED, 50_000))
    energy.sample(1.0)
    machine.gpus(
        (H100, "GPU-a", GPU_IS_LOST, GPU_IS_LOST), (P100, "GPU-b", NOT_SUPPORTED, GPU_IS_LOST)
    )
    assert energy.sample(2.0) == {
        0: GpuReading(_about(2.0), None, "measured", lost=True),
        1: GpuReading(_about(50.0), None, "sampled", lost=True),
    }
    # A counter that can be read again tells what was missed; watts of the past do not come back.
    machine.gpus((H100, "GPU-a", 9000, 100_000), (P100, "GPU-b", NOT_SUPPORTED, 50_000))
    energy.sample(3.0)
    assert energy.sample(4.0) == {
        0: GpuReading(_about(8.0), 100.0, "measured"),
        1: GpuReading(_about(100.0), 50.0, "sampled", lost=True),
    }


def test_a_gpu_that_is_gone_from_the_start_keeps_its_number(machine: Machine) -> None:
    machine.gpus((H100, GPU_IS_LOST, 0, 0), (H100, "GPU-b", 0, 90_000))
    energy = machine.measure([0, 1])
    assert energy is not None
    assert {gpu: reading.watts for gpu, reading in energy.sample(1.0).items()} == {1: 90.0}
    named = machine.measure([0, 1], "GPU-b")
    assert named is not None
    assert {gpu: reading.watts for gpu, reading in named.sample(1.0).items()} == {0: 90.0}


def test_a_counter_that_begins_anew_is_said_to_have_lost_something(machine: Machine) -> None:
    machine.gpus((H100, "GPU-a", 50_000, 100_000))
    energy = machine.measure([0])
    assert energy is not None
    machine.gpus((H100, "GPU-a", 60_000, 100_000))
    energy.sample(1.0)
    machine.gpus((H100, "GPU-a", 500, 100_000))
    assert energy.sample(2.0)[0] == GpuReading(_about(10.5), 100.0, "measured", lost=True)
    machine.gpus((H100, "GPU-a", 1500, 100_000))
    assert energy.sample(3.0)[0] == GpuReading(_about(11.5), 100.0, "measured", lost=True)


def test_a_driver_that_goes_away_ends_nothing(machine: Machine) -> None:
    machine.gpus((H100, "GPU-a", 1000, 100_000))
    energy = machine.measure([0])
    assert energy is not None
    machine.gpus((H100, "GPU-a", 2000, 100_000))
    energy.sample(1.0)
    machine.state.unlink()
    assert energy.sample(2.0)[0] == GpuReading(_about(1.0), None, "measured", lost=True)


def test_after_closing_the_last_sample_stands(machine: Machine) -> None:
    machine.gpus((H100, "GPU-a", 1000, 100_000))
    energy = machine.measure([0])
    assert energy is not None
    machine.gpus((H100, "GPU-a", 2000, 100_000))
    before = energy.sample(1.0)
    machine.gpus((H100, "GPU-a", 3000, 100_000))
    assert energy.close_twice() == before


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        ("2,0", {0: 12.0, 1: 10.0}),
        (" 1 , 2 ", {0: 11.0, 1: 12.0}),
        ("GPU-bb1,GPU-aa", {0: 11.0, 1: 10.0}),
        ("1,9,0", {0: 11.0}),  # the list ends where it names no GPU
        ("0,GPU-b", {0: 10.0}),  # the beginning of two UUIDs
        ("MIG-4f2,1", {1: 11.0}),  # a slice of a GPU has no counter
        ("", None),
        ("-1", None),
        ("NoDevFiles", None),
    ],
)
def test_a_plan_counts_the_gpus_that_the_process_may_see(
    machine: Machine, visible: str, seen: dict[int, float] | None
) -> None:
    uuids = ("GPU-aa0", "GPU-bb1", "GPU-bb2")
    machine.gpus(*((H100, uuid, 0, 10_000 + 1000 * i) for i, uuid in enumerate(uuids)))
    energy = machine.measure([0, 1], visible)
    watts = energy and {gpu: reading.watts for gpu, reading in energy.sample(1.0).items()}
    assert watts == seen


def test_nothing_is_measured_where_nothing_can_be(machine: Machine) -> None:
    assert machine.measure([0]) is None  # a library without a driver
    machine.gpus((H100, "GPU-a", 1000, 100_000), (P100, "GPU-b", NOT_SUPPORTED, NOT_SUPPORTED))
    assert machine.measure([1]) is None
    assert machine.measure([2]) is None
    assert machine.measure([]) is None


def test_nothing_is_measured_without_the_library(machine: Machine, tmp_path: Path) -> None:
    machine.gpus((H100, "GPU-a", 1000, 100_000))
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    machine.environment["LD_LIBRARY_PATH"] = str(tmp_path)
    assert machine.measure([0]) is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([H100] * 8, ("H100-SXM5-80GB", 8)),
        (["NVIDIA A100-SXM4-80GB"], ("A100-SXM4-80GB", 1)),
        (["NVIDIA A100 80GB PCIe"] * 2, ("A100-PCIe-80GB", 2)),
        (["NVIDIA L4", "NVIDIA L4", H100], ("L4", 2)),
        (["NVIDIA L40S", "Quadro of another time"], ("L40S", 1)),
        (["Tesla T4"], ("T4", 1)),
        ([P100], (None, 0)),
        ([], (None, 0)),
    ],
)
def test_a_machine_knows_its_gpus(
    machine: Machine, names: list[str], expected: tuple[str | None, int]
) -> None:
    machine.gpus(*((name, f"GPU-{i}", 0, 0) for i, name in enumerate(names)))
    assert machine.detect() == expected


def test_a_machine_without_a_driver_has_no_gpus(machine: Machine) -> None:
    assert machine.detect() == (None, 0)


@pytest.mark.gpu
def test_a_real_gpu_counts_joules() -> None:
    pynvml: Any = import_module("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        pytest.skip(f"no NVIDIA GPU here: {error}")
    pynvml.nvmlShutdown()
    energy = gpu_energy([0], os.environ)
    assert energy is not None
    _until(lambda: energy.sample()[0].joules > 0.0)
    reading = energy.sample()[0]
    energy.close()
    assert not reading.lost
    assert reading.watts is not None and 1.0 < reading.watts < 2000.0


def _until(true: Callable[[], bool]) -> None:
    """Return once something is true; the test's time limit is the only other end."""
    while not true():
        continue


# ---- shared out


def test_a_gpu_of_one_engine_goes_to_its_steps_by_their_tokens() -> None:
    shares = share_by_tokens(
        {0: 60.0, 1: 30.0, 2: 5.0},
        {"large": [(0, 1)], "small": [(2,)]},
        {("large", "ask"): 200.0, ("large", "sum"): 100.0, ("small", "tag"): 0.0},
    )
    assert shares.steps == pytest.approx({"ask": 60.0, "sum": 30.0, "tag": 0.0})
    assert shares.idle_j == pytest.approx(5.0)


def test_a_shared_gpu_is_divided_by_the_tokens_of_each_replica_on_it() -> None:
    shares = share_by_tokens(
        {0: 40.0, 1: 10.0},
        {"wide": [(0,), (1,)], "narrow": [(0,)]},
        {("wide", "a"): 200.0, ("narrow", "b"): 300.0},
    )
    # on GPU 0 stand 100 of the 200 tokens of `wide`, beside the 300 of `narrow`
    assert shares.steps == pytest.approx({"a": 10.0 + 10.0, "b": 30.0})
    assert shares.idle_j == 0.0


def test_tokens_too_few_to_count_divide_nothing() -> None:
    shares = share_by_tokens({0: 1.0}, {"x": [(0,), (0,)]}, {("x", "a"): 5e-324})
    assert shares.steps["a"] + shares.idle_j == 1.0


def test_a_step_on_two_engines_has_the_sum() -> None:
    shares = share_by_tokens(
        {0: 1.0, 1: 2.0}, {"x": [(0,)], "y": [(1,)]}, {("x", "a"): 5.0, ("y", "a"): 1.0}
    )
    assert shares.steps == pytest.approx({"a": 3.0})


def test_an_engine_whose_gpus_are_not_measured_gets_nothing() -> None:
    shares = share_by_tokens({0: 1.0}, {"x": [(3,)]}, {("x", "a"): 5.0, ("unplaced", "b"): 2.0})
    assert shares.steps == {"a": 0.0, "b": 0.0}
    assert shares.idle_j == 1.0


_ENGINES = st.sampled_from(["e", "f", "g"])
_JOULES = st.floats(0.0, 1e7)
_TOKENS = st.floats(0.0, 1e9)


@given(
    joules=st.dictionaries(st.integers(0, 7), _JOULES),
    places=st.dictionaries(_ENGINES, st.lists(st.lists(st.integers(0, 7)), min_size=1)),
    tokens=st.dictionaries(st.tuples(_ENGINES, st.sampled_from("abc")), _TOKENS),
)
def test_no_joule_is_lost_or_added(
    joules: dict[int, float],
    places: dict[str, list[list[int]]],
    tokens: dict[tuple[str, str], float],
) -> None:
    shares = share_by_tokens(joules, places, tokens)
    assert all(share >= 0.0 for share in shares.steps.values())
    assert shares.idle_j >= 0.0
    total_j = sum(shares.steps.values()) + shares.idle_j
    assert total_j == pytest.approx(sum(joules.values()), rel=1e-9, abs=1e-6)
    assert shares.steps.keys() == {step for _, step in tokens}
    worked = {step for (_, step), count in tokens.items() if count > 0.0}
    assert all(share == 0.0 for step, share in shares.steps.items() if step not in worked)
