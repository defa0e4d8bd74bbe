"""Measured energy of this machine's CPUs, where the kernel lets us read it (RAPL)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


@dataclass
class CpuEnergy:
    """Joules of all CPU packages since it was made; `sample` at least every half hour.

    The counters are of whole packages, so they include what else the machine does. They wrap
    around (`max_energy_range_uj`, an hour or so at full power), which a sample notices only once.
    """

    zones: tuple[Path, ...]
    _last_uj: list[int] = field(default_factory=list)
    _joules: float = 0.0

    def __post_init__(self) -> None:
        """Read the counters for the first time."""
        self._last_uj = [_read(zone / "energy_uj") for zone in self.zones]

    def sample(self) -> float:
        """Return the joules so far."""
        for i, zone in enumerate(self.zones):
            now_uj = _read(zone / "energy_uj")
            used_uj = now_uj - self._last_uj[i]
            if used_uj < 0:
                used_uj += _read(zone / "max_energy_range_uj")
            self._joules += used_uj * 1e-6
            self._last_uj[i] = now_uj
        return self._joules


def cpu_energy(powercap: Path = _POWERCAP) -> CpuEnergy | None:
    """Start measuring; None where there are no counters or they may not be read."""
    # `intel-rapl:0` is a package (AMD's go by that name too); `intel-rapl:0:0` a part of one
    zones = tuple(sorted(z for z in powercap.glob("intel-rapl:*") if z.name.count(":") == 1))
    if not zones:
        return None
    try:
        return CpuEnergy(zones)
    except (OSError, ValueError):
        return None


def _read(path: Path) -> int:
    return int(path.read_text())
