"""Starting a plan's servers to be kept between runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ...targets.library import Library
from ...targets.plan import EnginePlan, Plan
from ..binding import plan_executors
from ..errors import CallFailed, RunError, StepFailure
from .fleet import Fleet, Serving
from .replica import Replica
from .replicas import Replicas
from .warm import WarmServer, birth, keep, warm_servers


@dataclass(frozen=True, slots=True)
class BroughtUp:
    """The servers that are kept now, those found included, and engines that are not among them."""

    servers: tuple[WarmServer, ...]
    left: tuple[str, ...]


async def bring_up(plan: Plan, library: Library, serving: Serving) -> BroughtUp:
    """Start what a plan needs and is not there yet; servers it names that run are left alone.

    Engines of one GPU come up one after the other, each asleep before the next. Raises `InputError`
    where the plan does not fit the library, and `RunError` where a server does not start: those
    that did are kept all the same.
    """
    assert serving.warm is not None and serving.lasting  # that is what this is for
    folder = serving.warm
    executors = plan_executors(plan, library)
    fleet = Fleet(plan, executors, serving)
    served = [e for e in plan.engines if e.runner == "vllm" and e.endpoint is None]
    sleepers = [e for e in served if fleet.takes_turns(e.name) and e.device == "gpu"]
    later = [e for e in served if e not in sleepers and not e.prestarted]
    now = [e for e in served if e not in sleepers and e not in later]
    replicas: dict[str, Replicas] = {}
    failures: list[StepFailure] = []
    try:
        for engine in (*now, *sleepers):
            fleet.worker(engine, executors[engine.executor])
            replicas[engine.name] = fleet.replicas[engine.name]
        await asyncio.gather(*(_up(e, replicas[e.name], folder, failures) for e in now))
        for engine in sleepers:
            await _up(engine, replicas[engine.name], folder, failures)
            await replicas[engine.name].park(for_good=False)
    finally:
        for found in replicas.values():
            await found.close()
        await fleet.close()
    if failures:
        raise RunError("; ".join(map(str, failures)), tuple(failures))
    kept = [s for s in warm_servers(folder) if s.engine in replicas]
    return BroughtUp(tuple(kept), tuple(engine.name for engine in later))


async def _up(
    engine: EnginePlan, replicas: Replicas, folder: Path, failures: list[StepFailure]
) -> None:
    try:
        await replicas.rise()
    except CallFailed as error:
        failures.append(_failure(engine, error))
    finally:  # when interrupted, too: a server without a file could not be ended later
        for replica in replicas.all:
            if replica.origin == "own" and replica.server is not None:
                keep(folder, _warm(engine, replica))


def _failure(engine: EnginePlan, error: CallFailed) -> StepFailure:
    where = f"engine `{engine.name}`"
    return StepFailure(where, None, None, None, error.message, 1, error.help)


def _warm(engine: EnginePlan, replica: Replica) -> WarmServer:
    assert replica.server is not None and replica.command is not None  # asked before
    pid = replica.server.process.pid
    return WarmServer(
        fingerprint=replica.command.fingerprint,
        engine=engine.name,
        executor=engine.executor,
        model=replica.command.served_model,
        base=replica.base,
        log=str(replica.server.log.absolute()),
        pid=pid,
        born=birth(pid) or 0,
    )
