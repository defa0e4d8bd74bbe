"""Start-up figures out of run records, as rows of a profile."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from ..targets.profiles import START_COLUMNS

_TIMES = ("start_s", "sleep_s", "wake_s")
Key = tuple[str, str, int]  # model, device, GPUs


def start_profile(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the profile (CSV) of how long servers took to start, to sleep and to wake.

    One row for each model, device and degree, in that order: medians over all servers that the runs
    started or woke themselves. Runs that did neither add nothing.
    """
    times: dict[Key, dict[str, list[float]]] = {}
    for record in records:
        for engine in record["engines"]:
            for server in engine["servers"]:
                _add(times, engine, server)
    text = io.StringIO()
    writer = csv.DictWriter(text, START_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for key, found in sorted(times.items()):
        if found["start_s"]:
            writer.writerow(_row(key, found))
    return text.getvalue()


def _add(
    times: dict[Key, dict[str, list[float]]], engine: Mapping[str, Any], server: Mapping[str, Any]
) -> None:
    if server["origin"] != "own" or engine["model"] is None:
        return
    key = (engine["model"], engine["device"], engine["tp"])
    found = times.setdefault(key, {name: [] for name in _TIMES})
    for name in _TIMES:
        if server[name] is not None:
            found[name].append(server[name])


def _row(key: Key, found: Mapping[str, list[float]]) -> dict[str, object]:
    model, device, tp = key
    starts = len(found["start_s"])
    return {
        "model": model,
        "device": device,
        "tp": tp,
        **{name: f"{median(values):.3g}" for name, values in found.items() if values},
        "engine": "vllm",
        "source": f"median of {starts} start{'s' if starts > 1 else ''} in run records",
    }
