"""Watts of what is profiled: GPUs by NVML, CPU packages by RAPL, where they can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter

from ..nvml import GpuEnergy, gpu_energy
from ..power import CpuEnergy, cpu_energy

_SAMPLE_S = 1.0  # GPUs without a counter of joules are to be asked so often


class PowerMeter:
    """The mean draw between `begin` and `end`; nothing where nothing can be measured.

    `gpus` are this machine's, as a plan counts them; None measures the CPU packages instead, with
    whatever else they do. `environ` says which GPUs this process may see.
    """

    def __init__(self, gpus: Sequence[int] | None, environ: Mapping[str, str]) -> None:
        """Open the counters."""
        self._gpus: GpuEnergy | None = gpu_energy(gpus, environ) if gpus else None
        self._wanted = len(gpus) if gpus else 0
        self._cpu: CpuEnergy | None = cpu_energy() if gpus is None else None
        self._from: tuple[float, float] | None = None
        self._watts: float | None = None
        self._sampling: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start a measurement (in the event loop)."""
        self._watts = None
        self._from = (perf_counter(), self._joules() or 0.0)
        if self._gpus is not None:
            self._sampling = asyncio.get_running_loop().create_task(self._sample())

    def end(self) -> None:
        """End the measurement."""
        if self._from is None:
            return
        began_s, before_j = self._from
        joules = self._joules()
        if joules is not None:
            self._watts = (joules - before_j) / max(perf_counter() - began_s, 1e-9)
        self._rest()

    @property
    def watts(self) -> float | None:
        """Return the mean draw of the last measurement; None where it is not known."""
        return self._watts

    def close(self) -> None:
        """Let go of the counters."""
        self._rest()
        if self._gpus is not None:
            self._gpus.close()

    def _joules(self) -> float | None:
        if self._cpu is not None:
            return self._cpu.sample()
        if self._gpus is None:
            return None
        readings = self._gpus.sample().values()
        if len(readings) < self._wanted or any(reading.lost for reading in readings):
            return None  # some of what it draws is not counted
        return sum(reading.joules for reading in readings)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_S)
            self._joules()

    def _rest(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None
