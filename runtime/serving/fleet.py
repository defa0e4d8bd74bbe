"""The servers of a run: which engine attaches where, finds what is warm, or starts its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from ...targets.endpoint import EndpointPlan, moved
from ...targets.library import Executor
from ...targets.model_folder import LOADING_RUNNERS, is_folder, model_location
from ...targets.plan import EnginePlan, Plan
from ..errors import CallFailed
from ..nvml import GpuEnergy, GpuUse, gpu_energy
from ..progress import EngineStatus, OnEngine
from ..repeats import Repeats
from ..tracing import RunTrace
from ..urgency import remaining_s
from .asking import Asker
from .client import HttpClient
from .command import WHOLE_GPU, server_command
from .endpoint import Allowance, Endpoint, attached, endpoint
from .hedging import Tail
from .replica import Replica
from .replicas import WATCH_EVERY_S, Replicas
from .turns import Turns, conflicts, share_a_place, together
from .warm import WarmServer, warm_servers
from .worker import ServedWorker

# A call without a `timeout_s` of its own is given up after this many times the plan's p99, and not
# before it has had a quarter of an hour: a server that hangs is found by its health check.
_PATIENCE = 20.0
_LEAST_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What a run is told of servers.

    environ: where keys are, and of which a server gets what it may know. logs: the folder of the
    servers' logs. endpoints: addresses to attach to, by engine or executor, whatever the plan says.
    warm: the folder of servers kept between runs; None looks for none. lasting: keep what is
    started when this process ends. on_engine: told what engines do, when that changes and now and
    then.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    logs: Path = Path(".murakkab/logs")
    endpoints: Mapping[str, str] = field(default_factory=dict)
    warm: Path | None = None
    lasting: bool = False
    on_engine: OnEngine | None = None


class Fleet:
    """The model servers of one run."""

    def __init__(
        self,
        plan: Plan,
        executors: Mapping[str, Executor],
        serving: Serving,
        repeats: Repeats | None = None,
    ) -> None:
        """Start nothing yet; `executors` are those of the plan's steps and engines, by name.

        `repeats` is what the run may ask again.
        """
        self._policy = plan.failure
        self._repeats = repeats or Repeats(plan.failure)
        self._executors = executors
        self._used: dict[str, set[str]] = {}
        self._slowest_s: dict[str, list[float]] = {}
        for user, name in plan.users():
            self._used.setdefault(user, set()).add(name)
        for step in plan.steps:
            slowest = self._slowest_s.setdefault(step.engine or "", [])
            slowest.append(step.call_s.get("p99", 0.0))
            if step.substitute is not None:
                slowest = self._slowest_s.setdefault(step.substitute.engine, [])
                slowest.append(step.substitute.call_s)
        self._spare = {e.name for e in plan.engines} - {step.engine for step in plan.steps}
        self._serving = serving
        self._client = HttpClient()
        # one that the run was told another address for needs none of its places
        self._loading = [
            e
            for e in plan.engines
            if e.runner in LOADING_RUNNERS and e.endpoint is None and self._told(e) is None
        ]
        served = [e for e in self._loading if e.runner == "vllm"]
        self._measuring = asyncio.Lock()
        sleepers = [e.name for e in served if e.wake_s and not serving.lasting]
        self._turns = Turns(conflicts(served), sleepers)
        self._warm: list[WarmServer] | None = None  # those not yet spoken for
        calls_s = {step.step: step.call_s.get("p50", 0.0) for step in plan.steps}
        self._urgency = remaining_s(plan.module().sole(), calls_s)
        self._models: dict[str, dict[str, Any]] = {}  # by engine: as profiles name them
        self._states: dict[str, str] = {}
        self._rates: dict[str, _Rate] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._placed = {e.name: [place.gpus for place in e.places] for e in plan.engines}
        self._energy: GpuEnergy | None = None
        self.replicas: dict[str, Replicas] = {}
        self.workers: dict[str, ServedWorker] = {}
        self.max_usd: dict[str, float] = {}  # by engine: what may be spent at its endpoint

    def worker(self, engine: EnginePlan, executor: Executor | None) -> ServedWorker:
        """Return the worker of an engine; what keeps it from having any is told when it starts."""
        assert executor is not None  # found before
        engine = self._redirected(engine)
        where, replicas, problem = None, [], None
        try:
            if engine.endpoint is not None or engine.runner == "openai":
                where = attached(engine, executor, self._serving.environ)
                replicas = [self._attached(where, executor)]
            else:
                replicas = [self._replica(engine, executor, i) for i in range(engine.replicas)]
        except CallFailed as error:
            problem = error
        if where is not None and where.max_usd is not None:
            self.max_usd[engine.name] = where.max_usd
        restarts = self._policy.restarts
        found = Replicas(replicas, partial(self._changed, engine.name), problem, restarts)
        used = {name: self._executors[name] for name in self._used.get(engine.name, set())}
        limit_s = self._limit_s(engine, executor)
        allowance, repeats = Allowance(where), self._repeats
        asker = Asker(used, self._client, allowance, self._urgency, limit_s, repeats)
        spare = engine.name in self._spare
        tail = None if self._policy.hedge_after is None else Tail(self._policy.hedge_after)
        worker = ServedWorker(engine, asker, found, self._turns, repeats, tail, spare=spare)
        self._models[engine.name] = {
            "model": engine.model,
            "device": engine.gpu or engine.device,
            "tp": engine.tp if engine.device == "gpu" else 0,
        }
        self.replicas[engine.name] = found
        self.workers[engine.name] = worker
        return worker

    def _told(self, engine: EnginePlan) -> str | None:
        """Return the address that the run was told for an engine, if any."""
        endpoints = self._serving.endpoints
        return endpoints.get(engine.name, endpoints.get(engine.executor))

    def _redirected(self, engine: EnginePlan) -> EnginePlan:
        """Return the engine with the endpoint that the run was told for it, if any."""
        url = self._told(engine)
        if url is None:
            return engine
        known = engine.endpoint or EndpointPlan(url=url)
        return replace(engine, endpoint=moved(known, url), prestarted=True)

    def _limit_s(self, engine: EnginePlan, executor: Executor) -> float:
        """Return what a call may take: what the entry says, or far more than the plan expects."""
        stated = dict(executor.settings).get("timeout_s")
        if isinstance(stated, (int, float)):
            return float(stated)
        slowest_s = max(self._slowest_s.get(engine.name, (0.0,)))
        return max(_LEAST_LIMIT_S, _PATIENCE * slowest_s)

    def _attached(self, where: EndpointPlan, executor: Executor) -> Replica:
        address = endpoint(where, executor, self._serving.environ)
        return Replica(
            "attached",
            address,
            self._client,
            base=_base(address.url),
            # a folder here tells nobody how the model is called there
            any_model=where.model is None and is_folder(executor),
        )

    def _replica(self, engine: EnginePlan, executor: Executor, index: int) -> Replica:
        shares = any(
            other is not engine and together(engine, other) and share_a_place(engine, other)
            for other in self._loading
        )
        shared = self._turns.shares(engine.name)
        sleeps = self._serving.lasting or shared or engine.wake_s > 0.0
        command = server_command(
            engine,
            executor,
            model_location(executor),
            index,
            memory_share=engine.memory_share if shares else WHOLE_GPU,
            sleeps=sleeps,
            environ=self._serving.environ,
        )
        warm = self._claim(command.fingerprint)
        if warm is not None:
            address = Endpoint(f"{warm.base}/v1", warm.model)
            return Replica(
                "warm", address, self._client, warm.base, command=command, log=Path(warm.log)
            )
        return Replica(
            "own",
            Endpoint("", command.served_model),
            self._client,
            command=command,
            log=self._serving.logs / f"{engine.name}-{index}.log",
            lasting=self._serving.lasting,
            measuring=self._measuring if shares and engine.device == "gpu" else None,
        )

    def _claim(self, fingerprint: str) -> WarmServer | None:
        if self._warm is None:
            folder = self._serving.warm
            self._warm = [] if folder is None else warm_servers(folder)
        for server in self._warm:
            if server.fingerprint == fingerprint:
                self._warm.remove(server)
                return server
        return None

    def takes_turns(self, engine: str) -> bool:
        """Tell whether an engine holds places that others of the plan have at other times."""
        return self._turns.shares(engine)

    # ---- as the run goes on

    def open(self) -> None:
        """Begin to watch the engines, and to measure the GPUs that the plan puts any on."""
        gpus = {gpu for places in self._placed.values() for place in places for gpu in place}
        self._energy = gpu_energy(gpus, self._serving.environ)
        if self.workers or self._energy is not None:
            self._ticking = asyncio.create_task(self._tick())

    def begin(self, trace: RunTrace | None) -> None:
        """Learn that the run's clock starts, and where requests are told of."""
        for worker in self.workers.values():
            worker.begin(trace)

    async def close(self) -> None:
        """Close the connections; the workers have been stopped."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._turns.close()
        if self._energy is not None:
            self._energy.sample()
            self._energy.close()
        await self._client.close()

    def _changed(self, engine: str, state: str) -> None:
        self._states[engine] = state
        self._show(engine)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._energy is not None:
                self._energy.sample()
            for engine in self.replicas:
                self._show(engine)

    def _show(self, engine: str) -> None:
        if self._serving.on_engine is None:
            return
        status = EngineStatus(engine, self._states.get(engine, "waiting for its turn"))
        metrics = self.replicas[engine].metrics() if engine in self.replicas else None
        if metrics is not None:
            rate = self._rates.setdefault(engine, _Rate())
            status = status._replace(
                running=round(metrics.running),
                waiting=round(metrics.waiting),
                tokens_per_s=rate.of(metrics.output_tokens, monotonic()),
                hit_rate=metrics.hit_rate,
                kv_use=metrics.kv_use,
            )
        self._serving.on_engine(status._replace(watts=self._watts(engine)))

    def _watts(self, engine: str) -> float | None:
        if self._energy is None:
            return None
        readings = self._energy.readings()
        gpus = {gpu for place in self._placed[engine] for gpu in place}
        watts = [readings[gpu].watts for gpu in gpus if gpu in readings]
        known = [w for w in watts if w is not None]
        return sum(known) if known else None

    # ---- afterwards

    def report(self) -> list[dict[str, Any]]:
        """Return what a run record keeps of the servers."""
        return [
            {"engine": name, **self._models[name], **_servers(replicas)}
            for name, replicas in self.replicas.items()
        ]

    def gpus(self) -> GpuUse:
        """Return what the plan's GPUs used up; empty where that cannot be measured."""
        readings = self._energy.readings() if self._energy is not None else {}
        return GpuUse(self._placed, readings)


@dataclass
class _Rate:
    """How fast a counter grows, over the last few seconds."""

    last: float | None = None
    at_s: float = 0.0
    per_s: float | None = None

    def of(self, count: float, now_s: float) -> float | None:
        """Take a reading of the counter; two of the same moment tell nothing new."""
        if self.last is None or now_s - self.at_s > 0.5 * WATCH_EVERY_S:
            if self.last is not None:
                self.per_s = max(0.0, count - self.last) / (now_s - self.at_s)
            self.last, self.at_s = count, now_s
        return self.per_s


def _base(url: str) -> str:
    """Return the address under which an attached vLLM server has its metrics."""
    return url.rstrip("/").removesuffix("/v1")


def _servers(replicas: Replicas) -> dict[str, Any]:
    metrics = replicas.metrics()
    counted = None
    if metrics is not None:
        counted = {
            "prompt_tokens": metrics.prompt_tokens,
            "output_tokens": metrics.output_tokens,
            "prefix_cache_queries": metrics.prefix_queries,
            "prefix_cache_hits": metrics.prefix_hits,
            "preemptions": metrics.preemptions,
        }
    return {
        "servers": [
            {
                "url": replica.endpoint.url or None,
                "model": replica.endpoint.model,
                "origin": replica.origin,
                "log": None if replica.log is None else str(replica.log),
                "start_s": replica.start_s,
                "sleep_s": replica.sleep_s,
                "wake_s": replica.wake_s,
                "restarts": replica.restarts,
            }
            for replica in replicas.all
        ],
        "metrics": counted,
    }
