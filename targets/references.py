"""What is looked up beside the catalogue: prices of machines, scores, carbon of power grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..ir.quantities import UNITS
from .toml_source import TomlSource, shipped_toml


@dataclass(frozen=True, slots=True)
class Price:
    """What a cloud's machine costs on demand: USD a second, as listed in a month (`2025-06`)."""

    provider: str
    instance: str
    usd_per_s: float
    date: str
    source: str
    gpu: str | None = None
    gpus: int = 0
    vcpus: int = 0
    spot: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """What a source says a model reaches in a benchmark; only scores of one source compare."""

    model: str
    benchmark: str
    score: float
    unit: str
    source: str
    precision: str = "bf16"
    lower_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A power grid: grams of CO2 equivalents for a kWh, on average over a year."""

    region: str
    name: str
    g_per_kwh: float
    year: int
    source: str

    def grams(self, joules: float) -> float:
        """Return the grams of CO2 equivalents that this much energy stands for."""
        return joules / UNITS["kWh"][1] * self.g_per_kwh


@dataclass(frozen=True, slots=True)
class References:
    """Prices and scores in file order; grids under their region and its aliases."""

    prices: tuple[Price, ...]
    scores: tuple[Score, ...]
    grids: Mapping[str, Grid]

    def joined(self, other: References) -> References:
        """Return both; the other's grids replace these by name."""
        return References(
            self.prices + other.prices, self.scores + other.scores, {**self.grids, **other.grids}
        )


def load_references(files: Sequence[Path] = ()) -> References:
    """Return the shipped references and those of the user's catalogue files.

    InputError with every finding of the first file that has any.
    """
    from .catalog import catalog_source

    found = _shipped()
    for path in files:
        found = found.joined(read_references(catalog_source(path)))
    return found


@cache
def _shipped() -> References:
    found = References((), (), {})
    for source in shipped_toml("catalog", only=("carbon", "prices", "qualities")):
        found = found.joined(read_references(source))
    return found


def read_references(source: TomlSource) -> References:
    """Return what one file holds; InputError with a price that is none."""
    rows = source.data.get("price", ())
    grids: dict[str, Grid] = {}
    for row in source.data.get("carbon", ()):
        grids |= dict.fromkeys((row["region"], *row.get("aliases", ())), _grid(row))
    return References(
        prices=tuple(_price(source, i, row) for i, row in enumerate(rows)),
        scores=tuple(_score(row) for row in source.data.get("quality", ())),
        grids=grids,
    )


def _price(source: TomlSource, i: int, row: Mapping[str, Any]) -> Price:
    return Price(
        provider=row["provider"],
        instance=row["instance"],
        usd_per_s=source.quantity(("price", i, "price"), "USD/s"),
        date=row["date"],
        source=row["source"],
        gpu=row.get("gpu"),
        gpus=row.get("gpus", 0),
        vcpus=row.get("vcpus", 0),
        spot=row.get("spot", False),
    )


def _score(row: Mapping[str, Any]) -> Score:
    return Score(
        model=row["model"],
        benchmark=row["benchmark"],
        score=float(row["score"]),
        unit=row["unit"],
        source=row["source"],
        precision=row.get("precision", "bf16"),
        lower_is_better=row.get("lower_is_better", False),
    )


def _grid(row: Mapping[str, Any]) -> Grid:
    return Grid(
        region=row["region"],
        name=row["name"],
        g_per_kwh=float(row["g_per_kwh"]),
        year=row["year"],
        source=row["source"],
    )
