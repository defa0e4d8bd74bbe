"""Progress of a run on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..runtime.progress import (
    EngineStatus,
    OnEngine,
    OnEvent,
    Progress,
    ProgressTracker,
    RunEvent,
)
from . import figures
from .display import safe, shorten
from .output import Output

if TYPE_CHECKING:
    from ..targets.plan import Plan

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 5.0


Observers = tuple[OnEvent | None, OnEngine | None]


@contextmanager
def shown_progress(
    plan: Plan, inputs: Mapping[str, Any] | None, output: Output
) -> Iterator[Observers]:
    """Give what to call at each event of a run, and with each engine's status.

    None beside `--json`, where nothing is shown.
    """
    if output.as_json:
        yield None, None
    elif sys.stderr.isatty():
        with _bar(plan) as (show, engines):
            yield _throttled(ProgressTracker(plan, inputs), show, _BAR_EVERY_S), engines
    else:
        lines = _EngineLines(output)
        show_line = partial(_line, output, lines)
        yield _throttled(ProgressTracker(plan, inputs), show_line, _LINE_EVERY_S), lines.see


def _throttled(
    tracker: ProgressTracker, show: Callable[[RunEvent, Progress], None], every_s: float
) -> OnEvent:
    """Show at most one event in a while, but every one that went wrong."""
    began_s = shown_s = time.monotonic()

    def see(event: RunEvent) -> None:
        nonlocal shown_s
        tracker.see(event)
        now_s = time.monotonic()
        if event.reason is None and now_s - shown_s < every_s:
            return
        shown_s = now_s
        show(event, tracker.snapshot(now_s - began_s))

    return see


def _line(output: Output, engines: _EngineLines, event: RunEvent, progress: Progress) -> None:
    if event.reason is not None:
        again = "will be tried again" if event.kind == "retried" else "failed"
        output.aside(f"{event.instance}: {again}: {safe(event.reason)}")
        return
    output.aside(f"{figures.seconds(progress.elapsed_s)}: {_standing(progress)}")
    engines.tell()


def _standing(progress: Progress) -> str:
    parts = [f"{progress.done} of about {progress.expected} calls", f"{progress.running} running"]
    if progress.remaining_s is not None:
        parts.append(f"about {figures.seconds(progress.remaining_s)} left")
    return ", ".join(parts)


@contextmanager
def shown_engines(output: Output) -> Iterator[OnEngine | None]:
    """Give what to call with each engine's status; None beside `--json`."""
    yield None if output.as_json else _EngineLines(output).see


@contextmanager
def shown_count(noun: str, output: Output) -> Iterator[Callable[[], None]]:
    """Give what to call with each thing found in a long search; tells how many there are so far.

    A line that grows on a terminal, a line now and then elsewhere, nothing beside `--json`.
    """
    count, shown_s = 0, time.monotonic()
    if output.as_json or not sys.stderr.isatty():

        def see() -> None:
            nonlocal count, shown_s
            count += 1
            if time.monotonic() - shown_s >= _LINE_EVERY_S:
                shown_s = time.monotonic()
                output.aside(f"{figures.several(count, noun)} found so far")

        yield see
        return
    from rich.console import Console

    with Console(stderr=True).status(f"looking for a first {noun}") as status:

        def grow() -> None:
            nonlocal count
            count += 1
            status.update(f"{figures.several(count, noun)} found so far")

        yield grow


class _EngineLines:
    """Tells on stderr what becomes of engines, a line for each change, and how busy they are."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._latest: dict[str, EngineStatus] = {}

    def see(self, status: EngineStatus) -> None:
        """Take a status; tell where the engine's state is another."""
        before = self._latest.get(status.engine)
        self._latest[status.engine] = status
        if before is None or before.state != status.state:
            self._output.aside(f"engine `{status.engine}`: {safe(status.state)}")

    def tell(self) -> None:
        """Tell how busy each engine is."""
        for status in self._latest.values():
            if status.running is not None:
                self._output.aside(f"engine `{status.engine}`: {_busy(status)}")


def _busy(status: EngineStatus) -> str:
    """Return what an engine does, in a few words: `350 tokens/s, 8 running, 2 waiting, …`."""
    parts = []
    if status.tokens_per_s is not None:
        parts.append(f"{figures.count(round(status.tokens_per_s))} tokens/s")
    if status.running is not None:
        parts.append(f"{status.running} running, {status.waiting} waiting")
    if status.hit_rate is not None:
        parts.append(f"{status.hit_rate:.0%} of prompts cached")
    if status.watts is not None:
        parts.append(f"{status.watts:.0f} W")
    return ", ".join(parts) or safe(status.state)


@contextmanager
def _bar(plan: Plan) -> Iterator[tuple[Callable[[RunEvent, Progress], None], OnEngine]]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    columns = (
        SpinnerColumn(),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    console = Console(stderr=True)
    bar = Bar(*columns, console=console)
    task = bar.add_task(plan.workflow, total=None)
    engines: dict[str, Text] = {}

    def show(event: RunEvent, progress: Progress) -> None:
        said = shorten(f"{_standing(progress)}  {event.instance}", 60)
        bar.update(task, description=said, completed=progress.done, total=progress.expected)

    def engine(status: EngineStatus) -> None:
        said = _busy(status) if status.state.startswith("up") else safe(status.state)
        line = f"  {status.engine}: {said}"
        engines[status.engine] = Text(line, style="dim", no_wrap=True, overflow="ellipsis")

    def picture() -> Group:
        return Group(bar, *engines.values())

    with Live(get_renderable=picture, console=console, transient=True, refresh_per_second=8):
        yield show, engine
