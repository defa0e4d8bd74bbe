"""What run records tell for profiles: starts of servers, their calls, and those of tools."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ...targets.library import Executor
from ...targets.profiles import PERCENTILES
from ..record import RunRecord
from .figures import quantile
from .rows import Row, number

_STARTS = ("start_s", "sleep_s", "wake_s")
_LEAST_CALLS = 4  # fewer tell nothing of a load
Key = tuple[str, str, int]  # model or executor, device, GPUs


@dataclass(slots=True)
class _Served:
    """Calls of a model at about one load: seconds of calls, of time with any, and tokens."""

    calls: int = 0
    call_s: float = 0.0
    busy_s: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class _Used:
    """Calls of a tool: seconds of each item, of all calls, and of time with any."""

    item_s: list[float] = field(default_factory=list)
    call_s: float = 0.0
    busy_s: float = 0.0


def record_rows(
    records: Iterable[RunRecord], executors: Mapping[str, Executor] | None = None
) -> list[Row]:
    """Return the rows that records give, by kind, model and load.

    Of servers that runs started: medians of starting, sleeping and waking. Of model servers: the
    rate and the requests in flight while they had calls; loads within a factor of two are one row.
    Of the tools in `executors` (by name) whose calls all have one stated number of items: the time
    of an item. Calls are read from the files beside records.
    """
    starts: dict[Key, dict[str, list[float]]] = {}
    served: dict[tuple[Key, int], _Served] = {}
    used: dict[str, _Used] = {}
    for record in records:
        calls = _calls_by_engine(record)
        for engine in record.document["engines"]:
            _add_starts(starts, engine)
            _add_served(served, engine, calls.get(engine["engine"], ()))
        _add_used(used, record, executors or {})
    return [
        *_served_rows(served),
        *(_used_row(name, tool) for name, tool in sorted(used.items())),
        *(_start_row(key, found) for key, found in sorted(starts.items()) if found["start_s"]),
    ]


def _calls_by_engine(record: RunRecord) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for call in record.calls():
        if _was_made(call):
            found.setdefault(call["engine"], []).append(call)
    return found


def _was_made(call: Mapping[str, Any]) -> bool:
    """Tell whether a call has a result that it took its time for: not one known before."""
    return not any(word in call for word in ("error", "restored", "cached"))


def _add_starts(starts: dict[Key, dict[str, list[float]]], engine: Mapping[str, Any]) -> None:
    if engine["model"] is None:
        return
    key = (engine["model"], engine["device"], engine["tp"])
    for server in engine["servers"]:
        if server["origin"] != "own":
            continue
        found = starts.setdefault(key, {name: [] for name in _STARTS})
        for name in _STARTS:
            if server[name] is not None:
                found[name].append(server[name])


def _add_served(
    served: dict[tuple[Key, int], _Served],
    engine: Mapping[str, Any],
    calls: Iterable[Mapping[str, Any]],
) -> None:
    """Add an engine's calls, shared out evenly among its servers, which are alike."""
    told = [call for call in calls if (call.get("usage") or {}).get("output_tokens")]
    servers = len(engine["servers"])
    if engine["model"] is None or not servers or len(told) < _LEAST_CALLS * servers:
        return
    call_s, busy_s = sum(map(_seconds, told)), _busy_s(told)
    if busy_s <= 0.0:
        return
    key = (engine["model"], engine["device"], engine["tp"])
    in_flight = max(call_s / busy_s / servers, 1.0)
    tally = served.setdefault((key, round(math.log2(in_flight))), _Served())
    tally.calls += len(told)
    tally.call_s += call_s
    tally.busy_s += busy_s * servers
    tally.prompt_tokens += sum(call["usage"]["prompt_tokens"] for call in told)
    tally.output_tokens += sum(call["usage"]["output_tokens"] for call in told)


def _add_used(used: dict[str, _Used], record: RunRecord, executors: Mapping[str, Executor]) -> None:
    for step in record.document["steps"]:
        executor = executors.get(step["executor"] or "")
        items = None if executor is None else _stated_items(executor)
        if executor is None or items is None:
            continue
        calls = [call for call in record.calls(step["step"]) if _was_made(call)]
        if not calls:
            continue
        tool = used.setdefault(executor.name, _Used())
        tool.item_s += [_seconds(call) / items for call in calls]
        tool.call_s += sum(map(_seconds, calls))
        tool.busy_s += _busy_s(calls)


def _stated_items(executor: Executor) -> float | None:
    """Return a tool's items in every call; None for what is no tool, or where calls differ."""
    amount = dict(executor.work).get("items")
    if executor.runner != "python":
        return None
    if amount is None:
        return 1.0
    return None if amount.p50.names() else amount.p50.evaluate({}, {})


def _seconds(call: Mapping[str, Any]) -> float:
    return float(call["end_s"] - call["start_s"])


def _busy_s(calls: Iterable[Mapping[str, Any]]) -> float:
    """Return for how long at least one call was at work."""
    busy_s = until_s = 0.0
    for start_s, end_s in sorted((call["start_s"], call["end_s"]) for call in calls):
        busy_s += max(end_s - max(start_s, until_s), 0.0)
        until_s = max(until_s, end_s)
    return busy_s


def _served_rows(served: Mapping[tuple[Key, int], _Served]) -> Iterator[Row]:
    """Yield a row for each load; one that gives no more tokens than less load is left out."""
    last: dict[Key, float] = {}
    for (key, _), tally in sorted(served.items()):
        rate = tally.output_tokens / tally.busy_s
        if rate < 1.001 * last.get(key, 0.0):
            continue
        last[key] = rate
        model, device, tp = key
        yield {
            "model": model,
            "device": device,
            "tp": str(tp),
            "isl_tok": number(tally.prompt_tokens / tally.calls),
            "osl_tok": number(tally.output_tokens / tally.calls),
            "load_tokens_per_s": number(rate),
            "in_flight": number(tally.call_s / tally.busy_s),
            "engine": "vllm",
            "source": f"{tally.calls} calls in run records",
        }


def _used_row(name: str, tool: _Used) -> Row:
    ordered = sorted(tool.item_s)
    times = {p: quantile(ordered, int(p[1:]) / 100.0) for p in PERCENTILES}
    in_flight = tool.call_s / tool.busy_s if tool.busy_s else 1.0
    return {
        "model": name,
        "device": "cpu",
        "tp": "0",
        "load_items_per_s": number(in_flight / times["p50"]),
        **{f"latency_{p}_s": number(seconds) for p, seconds in times.items()},
        "engine": "python",
        "source": f"{len(ordered)} calls in run records",
    }


def _start_row(key: Key, found: Mapping[str, list[float]]) -> Row:
    model, device, tp = key
    starts = len(found["start_s"])
    return {
        "model": model,
        "device": device,
        "tp": str(tp),
        **{name: f"{median(values):.3g}" for name, values in found.items() if values},
        "engine": "vllm",
        "source": f"median of {starts} start{'s' if starts > 1 else ''} in run records",
    }
