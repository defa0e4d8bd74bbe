"""`mkb profile` of a model server: what is measured, the table, the files."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError
from . import figures
from .failures import FailedMeasurement
from .measurable import (
    asked_endpoint,
    asked_launch,
    campaign,
    metered_gpus,
    refuse_clashes,
)
from .output import Output

if TYPE_CHECKING:
    from ..runtime.errors import CallFailed
    from ..runtime.profiling.campaign import Campaign
    from ..runtime.profiling.figures import LoadPoint
    from ..runtime.profiling.subject import Subject
    from ..runtime.serving.client import HttpClient
    from ..runtime.serving.endpoint import Endpoint

SCHEMA = "murakkab/profile/1"


def profile(output: Output, wishes: Mapping[str, Any]) -> None:
    """Measure a server or a tool and write its profile; what is finished is kept."""
    refuse_clashes(wishes)
    asked = campaign(wishes)
    if wishes["executor"] is not None:
        from .toolprofile import profile_tool

        return profile_tool(output, wishes, asked.effort)
    session = _Session(output, asked, wishes["to"])
    session.check_file()
    failed: CallFailed | None = None
    from ..runtime.errors import CallFailed

    try:
        asyncio.run(session.run(wishes))
    except CallFailed as error:
        failed = error
    session.finish(failed)


@dataclass
class _Session:
    """One profile in the making."""

    output: Output
    campaign: Campaign
    to: str | None
    subject: Subject | None = None
    points: list[LoadPoint] = field(default_factory=list)
    interrupted: bool = False

    def check_file(self) -> None:
        """Find out now whether the file can take rows, not after an hour; raises InputError."""
        from ..runtime.profiling.rows import merged

        if self.to is None:
            return
        path = Path(self.to)
        merged(path, [])
        if not path.resolve().parent.is_dir():
            message = f"cannot write `{path}`: no folder `{path.parent}`"
            raise InputError(Diagnostic("unwritable-file", message))

    async def run(self, wishes: Mapping[str, Any]) -> None:
        """Measure; Ctrl-C ends it after what is finished. Raises `CallFailed`."""
        from ..runtime.interrupts import Interrupts

        work = asyncio.ensure_future(self._measure(wishes))

        def stop() -> None:
            self.interrupted = True
            work.cancel()

        with Interrupts(stop):
            try:
                await work
            except asyncio.CancelledError:
                if not self.interrupted:
                    raise

    async def _measure(self, wishes: Mapping[str, Any]) -> None:
        from ..runtime.profiling.campaign import measured
        from ..runtime.profiling.meter import PowerMeter
        from ..runtime.profiling.requests import Requester
        from ..runtime.serving.client import HttpClient

        client = HttpClient()
        try:
            async with self._served(client, wishes) as (endpoint, subject):
                self.subject = subject
                self._tell_subject(subject, endpoint)
                meter = PowerMeter(metered_gpus(wishes, subject), os.environ)
                requester = Requester(client, endpoint, subject.context)
                try:
                    async for point in measured(requester, self.campaign, meter):
                        self._done(point)
                    if not requester.exact:
                        said = "the server does not take wanted lengths: answers end by themselves"
                        self.output.aside(said)
                finally:
                    meter.close()
        finally:
            await client.close()

    @asynccontextmanager
    async def _served(
        self, client: HttpClient, wishes: Mapping[str, Any]
    ) -> AsyncIterator[tuple[Endpoint, Subject]]:
        from ..runtime.profiling.subject import attached, launched

        if wishes["endpoint"] is not None:
            yield await attached(client, *asked_endpoint(wishes))
            return
        executor, model, subject = asked_launch(wishes)
        levels = [load.level for load in self.campaign.loads if load.kind == "closed"]
        logs = Path(tempfile.mkdtemp(prefix="mkb-profile-"))
        self.output.aside(f"starting a server of `{executor.model}`; its log is in `{logs}`")
        async with launched(
            client,
            executor,
            model,
            subject,
            at_once=round(max(levels, default=64)),
            log=logs / "server.log",
            environ=os.environ,
        ) as served:
            yield served

    def _tell_subject(self, subject: Subject, endpoint: Endpoint) -> None:
        engine = f"{subject.engine} {subject.engine_version}".strip() or "an unknown server"
        where = subject.device + (f" x{subject.tp}" if subject.tp > 1 else "")
        self.output.aside(f"`{subject.model}` on {where} by {engine} at {endpoint.url}")
        self.output.aside(f"lengths: {self.campaign.lengths}")

    def _done(self, point: LoadPoint) -> None:
        self.points.append(point)
        self._save()
        rate = point.tokens_per_s
        self.output.aside(
            f"{point.load}: {figures.count(rate.value)} tokens/s \u00b1 {rate.margin:.1%},"
            f" an answer in {figures.seconds(point.latency_s['p50'].value)},"
            f" {point.requests} requests"
        )

    def _save(self) -> None:
        """Write what there is by now."""
        if self.to is None or self.to == "-":
            return
        self.output.write(self.to, self._csv(Path(self.to)))
        self.output.write(f"{self.to}.json", json.dumps(self._document(), indent=2) + "\n")

    def _csv(self, path: Path | None) -> str:
        from ..runtime.profiling.rows import consistent, merged, profile_csv, token_rows

        assert self.subject is not None  # points have one
        kept = consistent(self.points).points
        rows = token_rows(self.subject, kept, self.campaign.lengths)
        return profile_csv(rows if path is None else merged(path, rows))

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "subject": None if self.subject is None else asdict(self.subject),
            "lengths": str(self.campaign.lengths),
            "points": [point.as_dict() for point in self.points],
        }

    def finish(self, failed: CallFailed | None) -> None:
        """Say what was measured, or what kept it from being."""
        from ..runtime.profiling.rows import consistent

        document = self._document()
        if failed is not None:
            found = Diagnostic("not-measured", failed.message, help=failed.help)
            self._tell_kept()
            raise FailedMeasurement(found, document)
        if self.interrupted and not self.points:
            raise KeyboardInterrupt
        left = consistent(self.points).left_out
        self.output.report(_left_out(point) for point in left)
        self.output.report(_not_sustained(p) for p in self.points if not p.sustained)
        if self.to is None or self.to == "-":
            document["csv"] = self._csv(None)
        else:
            document["written"] = self.to
        if self.interrupted:
            self._tell_kept()
            raise KeyboardInterrupt
        if "csv" in document:
            self.output.aside(f"\n{shown(self.points)}\n")
            self.output.result(document["csv"].rstrip("\n"), document)
        else:
            self.output.result(shown(self.points), document)
            self.output.aside(f"\nwrote `{self.to}`: give it to `--profiles` when compiling")

    def _tell_kept(self) -> None:
        if not self.points:
            return
        where = "" if self.to is None or self.to == "-" else f" and kept in `{self.to}`"
        loads = ", ".join(str(point.load) for point in self.points)
        self.output.aside(f"{shown(self.points)}\n\nfinished{where}: {loads}")


def _left_out(point: LoadPoint) -> Diagnostic:
    message = (
        f"{point.load} has no row in the profile: it gives no more tokens a second than less load,"
        " or its tokens come faster"
    )
    return Diagnostic("no-gain", message, severity="note")


def _not_sustained(point: LoadPoint) -> Diagnostic:
    message = f"{point.load} are more than the server answers: its times grow with the measurement"
    return Diagnostic("not-sustained", message, severity="warning")


def shown(points: list[LoadPoint]) -> str:
    """Return load points as a table."""
    from .tables import table

    header = ["load", "tokens/s", "\u00b1", "in flight", "prompt", "answer"]
    header += ["first token", "p95", "per token", "p95", "whole", "p95"]
    powered = any(point.power_w is not None for point in points)
    header += ["power", "J/token"] if powered else []
    return table(header, [_cells(point, powered) for point in points])


def _cells(point: LoadPoint, powered: bool) -> list[str]:
    rate = point.tokens_per_s
    cells = [str(point.load), figures.count(rate.value), f"{rate.margin:.1%}"]
    cells += [figures.count(v) for v in (point.in_flight, point.isl_tok, point.osl_tok)]
    for times in (point.ttft_s, point.tpot_s, point.latency_s):
        for name in ("p50", "p95"):
            cells.append(figures.seconds(times[name].value) if times else "")
    if powered:
        joules = point.energy_j_per_token
        cells.append("" if point.power_w is None else f"{point.power_w:.0f} W")
        cells.append("" if joules is None else f"{joules:.3g}")
    return cells
