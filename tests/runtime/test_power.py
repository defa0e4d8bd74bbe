"""CPU energy from RAPL counters, read from a folder laid out like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from murakkab.runtime.power import cpu_energy


def _counter(folder: Path, name: str, microjoules: int) -> None:
    zone = folder / name
    zone.mkdir(exist_ok=True)
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")


def test_packages_add_up_their_parts_do_not_and_counters_wrap(tmp_path: Path) -> None:
    _counter(tmp_path, "intel-rapl:0", 1_000_000)
    _counter(tmp_path, "intel-rapl:1", 9_000_000)
    _counter(tmp_path, "intel-rapl:0:0", 0)
    meter = cpu_energy(tmp_path)
    assert meter is not None
    _counter(tmp_path, "intel-rapl:0", 3_000_000)
    _counter(tmp_path, "intel-rapl:1", 500_000)  # wrapped at 10 J
    _counter(tmp_path, "intel-rapl:0:0", 5_000_000)
    assert meter.sample() == pytest.approx(2.0 + 1.5)
    assert meter.sample() == pytest.approx(3.5)


def test_nothing_is_measured_where_there_is_no_counter(tmp_path: Path) -> None:
    assert cpu_energy(tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    assert cpu_energy(tmp_path) is None
