"""`mkb profile --executor`: the time of an item of a tool, and how long it takes to start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from . import figures
from .failures import FailedMeasurement
from .output import Output

if TYPE_CHECKING:
    from ..ir.workflow import Task
    from ..runtime.profiling.load import Effort
    from ..runtime.profiling.tools import Tool, ToolPoint
    from ..targets.library import Executor

_RUNNERS = ("python", "torch")


def profile_tool(output: Output, wishes: Mapping[str, Any], effort: Effort) -> None:
    """Measure an executor and write its profile; what is finished is kept whatever comes."""
    from ..runtime.errors import CallFailed
    from ..runtime.profiling.measuring import cases_of
    from ..runtime.profiling.rows import merged
    from ..runtime.profiling.tools import Tool, levels

    executor, task = _found(wishes["executor"], wishes["libraries"])
    tool = Tool(executor, task, cases_of(task, wishes["inputs"]))
    stated = tuple(round(level) for level in wishes["loads"])
    work = _Work(output, tool, effort, stated or levels(executor), wishes["to"])
    if wishes["to"] not in (None, "-"):
        merged(Path(wishes["to"]), [])
    try:
        asyncio.run(work.run())
    except CallFailed as error:
        found = Diagnostic("not-measured", f"`{executor.name}`: {error.message}", help=error.help)
        raise FailedMeasurement(found, work.document()) from None
    work.finish()


def _found(name: str, libraries: tuple[Path, ...]) -> tuple[Executor, Task]:
    from ..compiler.frontend import standard_interfaces
    from ..targets.library import availability, load_library

    library = load_library(libraries)
    executor = library.get(name)
    if executor is None:
        names = [e.name for e in library.executors if e.runner in _RUNNERS]
        hint = did_you_mean(name, names) or "`mkb library` lists the executors"
        raise InputError(
            Diagnostic("unknown-executor", f"no executor is named `{name}`", help=hint)
        )
    if executor.runner not in _RUNNERS:
        message = f"`{name}` is of runner `{executor.runner}`: its model server is what to measure"
        hint = "`mkb profile --launch NAME` or `--endpoint URL`"
        raise InputError(Diagnostic("usage", message, help=hint))
    task = next((t for t in standard_interfaces() if t.name == executor.interface), None)
    if task is None:
        message = f"interface `{executor.interface}` is none of the standard library's"
        hint = "take its calls from runs: `mkb profile import RUN`"
        raise InputError(Diagnostic("unknown-interface", message, help=hint))
    if task.effect:
        message = f"`{task.name}` is an effect: it is not repeated to be measured"
        raise InputError(Diagnostic("usage", message))
    why = availability(executor)
    if why is not None:
        raise InputError(Diagnostic("usage", f"`{name}` cannot run here: {why}"))
    return executor, task


@dataclass
class _Work:
    output: Output
    tool: Tool
    effort: Effort
    levels: tuple[int, ...]
    to: str | None
    points: list[ToolPoint] = field(default_factory=list)
    start_s: float = 0.0
    interrupted: bool = False

    async def run(self) -> None:
        """Measure; Ctrl-C ends it after what is finished. Raises `CallFailed`."""
        from ..runtime.interrupts import Interrupts

        work = asyncio.ensure_future(self._measure())

        def stop() -> None:
            self.interrupted = True
            work.cancel()

        with Interrupts(stop):
            try:
                await work
            except asyncio.CancelledError:
                if not self.interrupted:
                    raise

    async def _measure(self) -> None:
        from ..runtime.profiling.tools import bench

        async with bench(self.tool, max(self.levels)) as ready:
            self.start_s = ready.start_s
            self.output.aside(f"ready after {figures.seconds(ready.start_s)}")
            for level in self.levels:
                point = await ready.measured(level, self.effort)
                self.points.append(point)
                if self.to is not None and self.to != "-":
                    self.output.write(self.to, self._csv())
                self.output.aside(
                    f"{point.load}: {figures.count(point.items_per_s.value)} items/s,"
                    f" {point.calls} calls"
                )

    def _csv(self) -> str:
        from ..runtime.profiling.rows import merged, profile_csv
        from ..runtime.profiling.tools import tool_rows

        rows = tool_rows(self.tool.executor, self.points, self.start_s)
        if self.to is not None and self.to != "-":
            rows = merged(Path(self.to), rows)
        return profile_csv(rows)

    def document(self) -> dict[str, Any]:
        """Return what JSON says of what is done."""
        return {
            "executor": self.tool.executor.name,
            "start_s": self.start_s,
            "points": [asdict(point) for point in self.points],
        }

    def finish(self) -> None:
        """Say what was measured; raises KeyboardInterrupt where that was cut short."""
        if not self.points:
            raise KeyboardInterrupt
        document = self.document()
        in_file = self.to is not None and self.to != "-"
        document |= {"written": self.to} if in_file else {"csv": self._csv()}
        shown = _shown(self.points)
        if in_file:
            self.output.result(shown, document)
            self.output.aside(f"\nwrote `{self.to}`: give it to `--profiles` when compiling")
        else:
            self.output.aside(f"{shown}\n")
            self.output.result(document["csv"].rstrip("\n"), document)
        if self.interrupted:
            raise KeyboardInterrupt


def _shown(points: list[ToolPoint]) -> str:
    from .tables import table

    header = ["load", "items/s", "\u00b1", "calls", "an item", "p90", "p95", "p99"]
    rows = [
        [
            str(point.load),
            figures.count(point.items_per_s.value),
            f"{point.items_per_s.margin:.1%}",
            str(point.calls),
            *(figures.seconds(m.value) for m in point.latency_s.values()),
        ]
        for point in points
    ]
    return click.unstyle(table(header, rows))
