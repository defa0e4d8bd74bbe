"""Measured energy of GPUs, through NVML (`pynvml`, of the package nvidia-ml-py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

# The driver's own counter of joules, or watts sampled and integrated where there is none.
Basis = Literal["measured", "sampled"]


@dataclass(frozen=True, slots=True)
class GpuReading:
    """Joules of one GPU since measuring began, and its draw now; `watts` None where not known.

    `lost` tells that some energy is missing from `joules`: the GPU could not be read (it fell off
    the bus, say), or its counter began anew.
    """

    joules: float
    watts: float | None
    basis: Basis
    lost: bool = False


class GpuEnergy:
    """Joules of GPUs since it was made. Close it when done; not for several threads at once.

    The figures are of whole GPUs, so they include what else runs there. Counters may be sampled
    as rarely as one likes; sampled watts want it about once a second, because what a GPU draws
    between two samples is taken to change evenly.
    """

    def __init__(self, nvml: Any, meters: Mapping[int, _Meter], now: Callable[[], float]) -> None:
        """Take over an initialised NVML and what measures each GPU (`gpu_energy` makes both)."""
        self._nvml = nvml
        self._meters = meters
        self._now = now
        self._open = True

    def sample(self) -> dict[int, GpuReading]:
        """Return the readings by GPU; once closed, those of the last sample."""
        if self._open:
            for meter in self._meters.values():
                meter.take(self._nvml, self._now())
        return self.readings()

    def readings(self) -> dict[int, GpuReading]:
        """Return the readings of the last sample, by GPU."""
        return {gpu: meter.reading() for gpu, meter in self._meters.items()}

    def close(self) -> None:
        """Let go of NVML."""
        if not self._open:
            return
        self._open = False
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # the driver went away; there is nothing to let go of


def gpu_energy(
    gpus: Iterable[int],
    environ: Mapping[str, str],
    now: Callable[[], float] = time.monotonic,
) -> GpuEnergy | None:
    """Start measuring the GPUs of a plan; None where none of them can be measured.

    A plan counts the GPUs that this process may see: all of the machine in NVML's order, which is
    that of the PCI bus, or those that `CUDA_VISIBLE_DEVICES` lists in `environ`, in its order. GPUs
    that cannot be measured are left out: those beyond that list, slices of a GPU (MIG, whose energy
    no counter tells), and those that tell neither joules nor watts. `now` gives seconds.
    """
    wanted = sorted(set(gpus))
    if not wanted:
        return None
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no library, or no driver
        return None
    meters = {}
    for gpu, handle in enumerate(_visible(nvml, environ.get("CUDA_VISIBLE_DEVICES"))):
        meter = _meter(nvml, handle, now()) if gpu in wanted else None
        if meter is not None:
            meters[gpu] = meter
    energy = GpuEnergy(nvml, meters, now)
    if meters:
        return energy
    energy.close()
    return None


def _visible(nvml: Any, listed: str | None) -> list[Any]:
    """Return the handles of the GPUs a process may see, None for those that cannot be measured.

    As CUDA does it: a list names GPUs by number or by the beginning of their UUID, ends at the
    first entry that names none, and hides every GPU when it is empty (CUDA C++ Programming Guide,
    "CUDA Environment Variables").
    """
    try:
        gpus = [_gpu(nvml, i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []
    handles, uuids = [handle for handle, _ in gpus], [uuid for _, uuid in gpus]
    if listed is None:
        return handles
    found: list[Any] = []
    for name in (part.strip() for part in listed.split(",")):
        if name.startswith("MIG-"):
            found.append(None)
            continue
        index = _index(name, uuids)
        if index is None:
            break
        found.append(handles[index])
    return found


def _gpu(nvml: Any, index: int) -> tuple[Any, str]:
    """Return a GPU's handle and UUID; None and nothing for one that fell off the bus before."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return handle, nvml.nvmlDeviceGetUUID(handle)
    except nvml.NVMLError:
        return None, ""


def _index(name: str, uuids: Sequence[str]) -> int | None:
    """Return which GPU a number or the beginning of a UUID names, None where not exactly one."""
    if name.isdecimal():
        return int(name) if int(name) < len(uuids) else None
    if not name.startswith("GPU-"):
        return None
    fitting = [i for i, uuid in enumerate(uuids) if uuid.startswith(name)]
    return fitting[0] if len(fitting) == 1 else None


def _meter(nvml: Any, handle: Any, now_s: float) -> _Meter | None:
    """Return what measures a GPU: its counter, or its watts where it has none (before Volta)."""
    if handle is None:
        return None
    watts, counter_mj = _watts(nvml, handle), _counter_mj(nvml, handle)
    if watts is None and counter_mj is None:
        return None
    return _Meter(handle, now_s, watts, counter_mj, "sampled" if counter_mj is None else "measured")


def _watts(nvml: Any, handle: Any) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetPowerUsage(handle)) * 1e-3
    except nvml.NVMLError:
        return None


def _counter_mj(nvml: Any, handle: Any) -> int | None:
    try:
        return int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    except nvml.NVMLError:
        return None


@dataclass(slots=True)
class _Meter:
    """One GPU: what it told last, and what that adds up to."""

    handle: Any
    last_s: float
    watts: float | None
    last_mj: int | None
    basis: Basis
    joules: float = 0.0
    gap: bool = False  # energy that no later sample can make up for
    readable: bool = True

    def take(self, nvml: Any, now_s: float) -> None:
        """Ask the GPU again."""
        watts = _watts(nvml, self.handle)
        if self.last_mj is None:
            self._integrate(watts, now_s)
        else:
            self._count(_counter_mj(nvml, self.handle), self.last_mj)
        self.watts, self.last_s = watts, now_s

    def _count(self, now_mj: int | None, last_mj: int) -> None:
        self.readable = now_mj is not None
        if now_mj is None:
            return  # the counter may go on meanwhile: its next reading tells
        began_anew = now_mj < last_mj
        self.gap |= began_anew
        self.joules += (now_mj if began_anew else now_mj - last_mj) * 1e-3
        self.last_mj = now_mj

    def _integrate(self, watts: float | None, now_s: float) -> None:
        self.readable = watts is not None
        if watts is None or self.watts is None:
            self.gap = True  # nobody knows what it drew in between
            return
        self.joules += (self.watts + watts) / 2 * (now_s - self.last_s)

    def reading(self) -> GpuReading:
        """Return what is known by now."""
        return GpuReading(self.joules, self.watts, self.basis, self.gap or not self.readable)


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What a run took of GPUs: the GPUs of each replica by engine, and the readings by GPU."""

    places: Mapping[str, Sequence[Sequence[int]]]
    readings: Mapping[int, GpuReading]


@dataclass(frozen=True, slots=True)
class EnergyShares:
    """Joules by step, and those of GPUs on which nobody had work."""

    steps: Mapping[str, float]
    idle_j: float


def share_by_tokens(
    joules: Mapping[int, float],
    places: Mapping[str, Sequence[Sequence[int]]],
    tokens: Mapping[tuple[str, str], float],
) -> EnergyShares:
    """Share out the joules of GPUs among the steps that used them; nothing is lost or added.

    `places` are, by engine, the GPUs of each of its replicas, `tokens` by engine and step those
    that a model computed (of prompts beyond the cache, and of outputs). The tokens of an engine
    are spread evenly over its replicas, and all GPUs of a replica work for each of them; so a GPU
    goes to the engines on it in the proportion of tokens per replica, and within an engine to its
    steps in that of their tokens. Tokens of unlike models are not weighed: an engine that shares no
    GPU may have any other measure of work in their place.
    """
    work: dict[str, dict[str, float]] = {}
    for (engine, step), count in tokens.items():
        if count > 0.0:
            work.setdefault(engine, {})[step] = count
    standing: dict[int, list[str]] = {}  # an engine once for each of its replicas
    for engine in work:
        for gpus in places.get(engine, ()):
            for gpu in set(gpus):
                standing.setdefault(gpu, []).append(engine)
    steps = dict.fromkeys((step for _, step in tokens), 0.0)
    idle_j = 0.0
    for gpu, gpu_j in joules.items():
        claims = [
            (step, count / len(places[engine]))
            for engine in standing.get(gpu, ())
            for step, count in work[engine].items()
        ]
        total = sum(count for _, count in claims)
        if not total:
            idle_j += gpu_j
            continue
        for step, count in claims:
            steps[step] += gpu_j * (count / total)
    return EnergyShares(steps, idle_j)
