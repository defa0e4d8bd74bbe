"""Writes the run record (`record.py`) as the run goes on; what it keeps in memory does not grow."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..targets.plan import Plan, StepPlan
from .errors import StepFailure
from .list_file import ListFile
from .media import Media
from .messages import Completed, Dropped, Failed, Submit
from .nvml import EnergyShares, GpuUse, share_by_tokens
from .power import CpuEnergy, cpu_energy
from .progress import Known
from .record import SCHEMA, values_folder
from .values import canonical, digest_encoded, encode
from .worker import Usage

_INLINE_CHARACTERS = 2048  # larger values get a file of their own
_POWER_SAMPLE_S = 60.0
_LINE = json.JSONEncoder(ensure_ascii=False).encode


_NOT_RECORDED = "what it returned cannot be recorded: {}"


@dataclass(slots=True)
class _Tally:
    """What the calls of one step add up to."""

    calls: int = 0
    restored: int = 0
    cached: int = 0
    substituted: int = 0
    failed: int = 0
    cancelled: int = 0
    cancelled_s: float = 0.0
    attempts: int = 0
    items: int = 0
    busy_s: float = 0.0
    start_s: float | None = None
    end_s: float | None = None
    usage: Usage | None = None

    @property
    def tokens(self) -> float:
        """Tokens that a model computed for it."""
        return float(self.usage.tokens) if self.usage is not None else 0.0


class Recorder:
    """Takes calls as they end; `finish` gives the record and, with a path, writes it.

    `measured` says whether times are the machine's: then CPU energy is measured too, where the
    kernel allows.
    """

    def __init__(self, plan: Plan, path: Path | None, *, measured: bool) -> None:
        """Begin a record; with a path, its folder is made and a former record's calls removed."""
        self._plan = plan
        self.plan_sha256 = hashlib.sha256(plan.to_json().encode()).hexdigest()
        self._path = path
        self._steps: dict[str, _Tally] = {step.step: _Tally() for step in plan.steps}
        self._inputs: dict[str, Any] = {}
        self._resumed: dict[str, Any] | None = None
        self.unwritten: str | None = None
        self._started = datetime.now(UTC)
        self._energy: CpuEnergy | None = cpu_energy() if measured else None
        self._sampled_s = 0.0
        self._startup_s = 0.0
        self._engines: list[dict[str, Any]] = []
        self._gpus = GpuUse({}, {})
        self._shares: EnergyShares | None = None
        self._calls: IO[str] | None = None
        if path is not None:
            folder = values_folder(path)
            folder.mkdir(parents=True, exist_ok=True)
            self._calls = (folder / "calls.jsonl").open("w", encoding="utf-8")

    def inputs(self, values: Mapping[str, Any]) -> None:
        """Note the inputs."""
        self._inputs = {name: self._kept(value) for name, value in values.items()}

    def resumed(self, journal: Path, changed: Sequence[str]) -> None:
        """Note what the run was taken up from, and the executors that have changed since."""
        self._resumed = {"journal": str(journal.absolute()), "changed_executors": list(changed)}

    def engines(self, report: list[dict[str, Any]], gpus: GpuUse) -> None:
        """Note what became of the model servers, and what GPUs used up."""
        self._engines = report
        self._gpus = gpus

    def started(self, seconds: float) -> None:
        """Note how long the engines took to start; the run's clock starts after that."""
        self._startup_s = seconds

    def call(
        self,
        call: Submit,
        engine: str,
        started_s: float,
        ended_s: float,
        event: Completed | Failed | Dropped,
        usage: Usage | None = None,
    ) -> str | None:
        """Note the end of one attempt at a call, `Dropped` where it was stopped.

        Returns why what it made cannot be recorded, None where it can: it then counts as failed.
        """
        problem = self._written(call, engine, started_s, ended_s, event, usage)
        if problem is not None:
            event = Failed(call.id, problem, False)
            self._written(call, engine, started_s, ended_s, event, usage)
        value = event.value if isinstance(event, Completed) else None
        tally = self._steps.setdefault(call.step.name, _Tally())
        tally.calls += call.attempt == 1
        tally.attempts += 1
        tally.failed += isinstance(event, Failed)
        tally.substituted += bool(call.instead) and isinstance(event, Completed)
        if isinstance(event, Dropped):
            tally.cancelled += 1
            tally.cancelled_s += ended_s - started_s
        tally.items += len(value) if isinstance(value, list) else 0
        tally.busy_s += ended_s - started_s
        if usage is not None:
            tally.usage = usage if tally.usage is None else tally.usage.plus(usage)
        if tally.start_s is None or started_s < tally.start_s:
            tally.start_s = started_s
        tally.end_s = ended_s if tally.end_s is None else max(tally.end_s, ended_s)
        if self._energy is not None and ended_s > self._sampled_s + _POWER_SAMPLE_S:
            self._sampled_s = ended_s
            self._energy.sample()
        return problem

    def restored(
        self, call: Submit, engine: str, at_s: float, value: Any, how: Known
    ) -> str | None:
        """Note a call that an earlier run has done, known from the journal or the cache.

        Returns why it cannot be recorded, None where it can.
        """
        event = Completed(call.id, value)
        problem = self._written(call, engine, at_s, at_s, event, None, {how: True})
        tally = self._steps.setdefault(call.step.name, _Tally())
        tally.calls += 1
        tally.restored += how == "restored"
        tally.cached += how == "cached"
        tally.items += len(value) if isinstance(value, list) else 0
        return problem

    def _written(
        self,
        call: Submit,
        engine: str,
        started_s: float,
        ended_s: float,
        event: Completed | Failed | Dropped,
        usage: Usage | None,
        more: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Write a call's line; returns why that cannot be: a medium is gone, a disk is full."""
        if self._calls is None:
            return None
        line: dict[str, Any] = {
            "instance": call.instance,
            "step": call.step.name,
            "engine": engine,
            "attempt": call.attempt,
            "start_s": round(started_s, 6),
            "end_s": round(ended_s, 6),
        }
        if isinstance(event, Dropped):
            line |= {"error": event.reason, "cancelled": True}
        elif isinstance(event, Failed):
            line["error"] = event.error
        if usage is not None:
            line["usage"] = usage._asdict()
        try:
            if isinstance(event, Completed):
                line["result"] = self._kept(event.value)
            self._calls.write(_LINE({**line, **(more or {})}) + "\n")
        except (OSError, ValueError, RuntimeError, MemoryError) as error:  # or it has no form
            return _NOT_RECORDED.format(str(error) or type(error).__name__)
        return None

    def finish(
        self,
        status: str,
        result: Any,
        failures: tuple[StepFailure, ...],
        elapsed_s: float,
    ) -> dict[str, Any]:
        """Return the record's document, and write it where it has a path.

        `status` is `done`, `partial`, `failed`, `interrupted` or `stopped`. Where it cannot be
        written, `unwritten` says why.
        """
        self._shares = self._shared_out()
        kept = None
        try:
            kept = self._kept(result) if status in ("done", "partial") else None
        except OSError as error:
            self.unwritten = str(error)
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "workflow": self._plan.workflow,
            "target": self._plan.target,
            "plan_sha256": self.plan_sha256,
            "started_at": self._started.isoformat(timespec="milliseconds"),
            "status": status,
            **({"resumed": self._resumed} if self._resumed is not None else {}),
            "inputs": self._inputs,
            "result": kept,
            "failures": [failure.as_dict() for failure in failures],
            "steps": [self._step(step) for step in self._plan.steps],
            "engines": self._engines,
            "gpus": self._gpu_use(),
            "totals": {"measured": self._measured(elapsed_s), "predicted": self._predicted()},
        }
        if self._calls is not None and self._path is not None:
            try:
                self._calls.close()
                _write_whole(self._path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
            except OSError as error:
                self.unwritten = str(error)
        return document

    def _shared_out(self) -> EnergyShares | None:
        """Share out the measured joules of GPUs: by tokens, or where some count none, by seconds.

        Seconds then serve for all, since what shares a GPU has to be counted alike.
        """
        if not self._gpus.readings:
            return None
        placed = [s for s in self._plan.steps if self._gpus.places.get(s.engine or "")]
        tallies = [self._steps[step.step] for step in placed]
        by_tokens = all(tally.tokens for tally in tallies if tally.attempts)
        work = {
            (step.engine or "", step.step): tally.tokens if by_tokens else tally.busy_s
            for step, tally in zip(placed, tallies, strict=True)
        }
        joules = {gpu: reading.joules for gpu, reading in self._gpus.readings.items()}
        return share_by_tokens(joules, self._gpus.places, work)

    def _energy_of(self, step: StepPlan, tally: _Tally) -> tuple[float, str]:
        """Return a step's joules, and whether they were measured or come from the plan's model."""
        gpus = {gpu for place in self._gpus.places.get(step.engine or "", ()) for gpu in place}
        if self._shares is not None and gpus and gpus <= self._gpus.readings.keys():
            bases = {self._gpus.readings[gpu].basis for gpu in gpus}
            basis = "measured" if bases == {"measured"} else "sampled"
            return self._shares.steps[step.step], basis
        per_call_j = step.energy_j / step.calls if step.calls else 0.0
        done = float(tally.attempts - tally.failed - tally.cancelled - tally.substituted)
        other_j = step.substitute.energy_j * tally.substituted if step.substitute else 0.0
        if tally.cancelled:  # such a call has taken its share of a whole one, by time
            whole_s = step.call_s.get("p50", 0.0)
            done += min(tally.cancelled_s / whole_s if whole_s else 1.0, tally.cancelled)
        return per_call_j * done + other_j, "modelled"

    def _step(self, step: StepPlan) -> dict[str, Any]:
        tally = self._steps[step.step]
        energy_j, basis = self._energy_of(step, tally)
        return {
            "step": step.step,
            "task": step.task,
            "executor": step.executor,
            "engine": step.engine,
            "calls": tally.calls,
            "attempts": tally.attempts,
            "failed": tally.failed,
            "cancelled": tally.cancelled,
            **({"restored": tally.restored} if tally.restored else {}),
            **({"cached": tally.cached} if tally.cached else {}),
            **_substituted(step, tally),
            "items": tally.items,
            "start_s": tally.start_s,
            "end_s": tally.end_s,
            "busy_s": tally.busy_s,
            "usage": None if tally.usage is None else tally.usage._asdict(),
            "energy_j": energy_j,
            "energy_basis": basis,
            "predicted": {
                "calls": step.calls,
                "call_s": dict(step.call_s),
                "start_s": step.start_s,
                "end_s": step.end_s,
                "energy_j": step.energy_j,
            },
        }

    def _measured(self, elapsed_s: float) -> dict[str, Any]:
        joules = self._energy.sample() if self._energy is not None else None
        return {
            "latency_s": elapsed_s,
            "startup_s": self._startup_s,
            "cpu_energy_j": joules,
            "gpu_energy_j": self._gpu_joules(),
            "calls": sum(tally.calls for tally in self._steps.values()),
            **self._carbon(joules),
        }

    def _carbon(self, cpu_joules: float | None) -> dict[str, float]:
        """Return the grams that measured energy stands for, or modelled where none is measured."""
        carbon, gpu_joules = self._plan.carbon, self._gpu_joules()
        if carbon is None:
            return {}
        joules = (cpu_joules or 0.0) + (gpu_joules or 0.0)
        if cpu_joules is None and gpu_joules is None:
            joules = sum(
                self._energy_of(step, self._steps[step.step])[0] for step in self._plan.steps
            )
        return {"carbon_g": carbon.grams(joules)}

    def _gpu_use(self) -> list[dict[str, Any]]:
        return [
            {"gpu": gpu, "energy_j": r.joules, "basis": r.basis, "incomplete": r.lost}
            for gpu, r in sorted(self._gpus.readings.items())
        ]

    def _gpu_joules(self) -> float | None:
        readings = self._gpus.readings.values()
        return sum(reading.joules for reading in readings) if readings else None

    def _predicted(self) -> dict[str, Any]:
        predicted = self._plan.predicted
        return {
            "latency_s": dict(predicted.latency_s),
            "startup_s": predicted.startup_s,
            "energy_j": predicted.energy_j,
            "cost_usd": predicted.cost_usd,
            "accuracy": predicted.accuracy,
            "calls": sum(s.calls for s in self._plan.steps if s.executor is not None),
            **({} if self._plan.carbon is None else {"carbon_g": self._plan.carbon.carbon_g}),
        }

    # ---- values

    def _kept(self, value: Any) -> dict[str, Any]:
        """Return a value's reference, inline where it is small, kept beside the record if not."""
        if isinstance(value, ListFile):
            return {"sha256": value.sha256, "lines": value.path, "count": value.count}
        encoded = encode(value)
        text = canonical(encoded)
        sha256 = digest_encoded(encoded, text)
        if isinstance(value, (Media, list, dict)):
            self.keep_media(value)
        if len(text) <= _INLINE_CHARACTERS:
            return {"sha256": sha256, "value": encoded}
        if self._path is not None:
            self._keep(f"{sha256}.json", text.encode())
        return {"sha256": sha256}

    def keep_media(self, value: Any) -> None:
        """Keep the content of media without a file that a value holds, with a path."""
        match value:
            case Media(data=bytes() as data) if self._path is not None:
                self._keep(value.digest(), data)
            case list():
                for item in value:
                    self.keep_media(item)
            case dict():
                for item in value.values():
                    self.keep_media(item)

    def _keep(self, name: str, content: bytes) -> None:
        assert self._path is not None
        path = values_folder(self._path) / name
        if not path.exists():  # the name is the content's digest
            path.write_bytes(content)


def _substituted(step: StepPlan, tally: _Tally) -> dict[str, Any]:
    """Return how many calls another executor did, which, and how good it is beside the chosen."""
    other = step.substitute
    if other is None or not tally.substituted:
        return {}
    by = {"executor": other.executor, "engine": other.engine, "quality": other.quality}
    return {"substituted": tally.substituted, "substitute": by}


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
