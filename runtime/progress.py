"""Progress of a run as data: events from the driver, and the snapshot they add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..targets.plan import Plan
from .expected import expected_calls

_FAILURES_KEPT = 100  # a run that goes on without what fails may have a million
Known = Literal["restored", "cached"]
EventKind = Literal["started", "completed", "failed", "retried", "cancelled"] | Known


class RunEvent(NamedTuple):
    """Something happened to a step instance, `at_s` seconds into the run.

    `items` is the length of a completed list; `reason` says why an attempt failed. A call is
    `cancelled` where its result is not wanted, or the run is ending, and `restored` where the
    journal that a run goes on with had its result, `cached` where the cache had it.
    """

    kind: EventKind
    at_s: float
    instance: str
    step: str
    engine: str | None
    attempt: int
    items: int | None = None
    reason: str | None = None


class EngineStatus(NamedTuple):
    """What a model server's engine is doing; None where it does not tell, or not yet.

    `state` is in words: `starting`, `up`, `asleep`, `restarting (why)`. `running` and `waiting` are
    requests in its servers. `hit_rate` is the share of prompt tokens found in the prefix cache
    during the run, `kv_use` that of the memory for keys and values in use. `watts` are of its GPUs.
    """

    engine: str
    state: str
    running: int | None = None
    waiting: int | None = None
    tokens_per_s: float | None = None
    hit_rate: float | None = None
    kv_use: float | None = None
    watts: float | None = None


OnEngine = Callable[[EngineStatus], None]
OnEvent = Callable[[RunEvent], None]
OnInterrupt = Callable[[int], None]  # told how many calls are at work


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: calls done, running and expected, list items made, seconds.

    `expected` starts as the plan's estimate and never falls behind what was really begun; calls
    that were cancelled are no longer expected. `failures` are the first that there were.
    `remaining_s` is None until something is done.
    """

    done: int
    running: int
    expected: int
    items: int
    retries: int
    failures: tuple[str, ...]
    elapsed_s: float
    remaining_s: float | None


class ProgressTracker:
    """Adds up events; hand `see` to the driver and ask for a `snapshot` whenever one is shown."""

    def __init__(self, plan: Plan, inputs: Mapping[str, Any] | None = None) -> None:
        """Take the plan's estimates of calls and latency, for inputs as long as they are."""
        planned = expected_calls(plan, {})
        expected = expected_calls(plan, inputs or {})
        self._planned = round(expected)
        self._predicted_s = plan.predicted.latency_s.get("p50", 0.0)
        self._predicted_s *= expected / planned if planned else 1.0
        self._begun = self._done = self._items = self._retries = self._failed = 0
        self._cancelled = 0
        self._failures: list[str] = []

    def see(self, event: RunEvent) -> None:
        """Take one event."""
        if event.kind == "started":
            self._begun += event.attempt == 1
        elif event.kind in ("restored", "cached"):
            self._begun += 1
            self._done += 1
        elif event.kind == "completed":
            self._done += 1
            self._items += event.items or 0
        elif event.kind == "retried":
            self._retries += 1
        elif event.kind == "cancelled":
            self._cancelled += 1
        else:
            self._failed += 1
            if len(self._failures) < _FAILURES_KEPT:
                self._failures.append(f"{event.instance}: {event.reason}")

    def snapshot(self, elapsed_s: float) -> Progress:
        """Return where the run stands `elapsed_s` seconds after its start.

        The time left is that of the calls left at the pace so far, and at the start, when few are
        done, the plan's prediction: the two are weighed by the share of calls done.
        """
        expected = max(self._planned, self._begun) - self._cancelled
        remaining_s = None
        if self._done:
            share = min(self._done / expected, 1.0)
            at_this_pace_s = elapsed_s * (1.0 - share) / share
            as_planned_s = max(self._predicted_s - elapsed_s, 0.0)
            remaining_s = share * at_this_pace_s + (1.0 - share) * as_planned_s
        return Progress(
            done=self._done,
            running=self._begun - self._done - self._failed - self._cancelled,
            expected=expected,
            items=self._items,
            retries=self._retries,
            failures=tuple(self._failures),
            elapsed_s=elapsed_s,
            remaining_s=remaining_s,
        )
