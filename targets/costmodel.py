"""The shipped cost model: measured load points, and the analytic model between and beyond them.

Money: a replica on GPUs is charged `its GPUs / the node's GPUs` of the node's price, which pays for
as many of the node's cores. On a node without GPUs, CPU work is charged its share of the cores. On
a node with GPUs, CPU work is charged what cores alone cost elsewhere (`CORE_USD_S`), not the far
dearer share of such a node: cores that came for nothing would draw work away from GPUs that do it
more cheaply. A node whose GPUs are all held is then counted for at most its cores' price too much.

Energy: the draw of the GPUs or cores a replica holds. A node's cores share the CPU's idle and busy
watts evenly; memory, fans and power supplies are not counted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.diagnostics import InputError
from ..ir.ops import Attr
from .catalog import Catalog, Model, load_catalog
from .cluster import Cluster, Pool
from .cost import BANDS, Estimate, Latency, Provenance, Slot, Work
from .library import Executor
from .loadpoints import (
    REQUEST_S,
    Tails,
    over_median,
    prefill_share,
    prompt_token_s,
    step_s,
    with_tails,
)
from .model_folder import folder_model, is_folder
from .profiles import Curve, ItemPoint, Profiles, TokenPoint, load_profiles, token_curve
from .remote import remote_estimate
from .serving import SERVED_TOKENS, Serving, serving_on
from .sleeping import change_s

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # 256 is vLLM's default max_num_seqs
TENSOR_PARALLEL = (1, 2, 4, 8)
ASSUMED_PROMPT_TOKENS = 200.0  # of a load point whose prompt length was not published
LOAD_BYTES_S = 2e9  # weights from a local disk to memory
SERVER_START_S = 40.0  # processes, compilation, CUDA graphs; declared estimate
SERVER_CORES = 2  # API server and engine loop; one more for each GPU
SERVER_HOST_BYTES = 4e9  # host memory of a server, and again for each GPU
# AWS c7i.24xlarge, us-east-1 on demand: $4.284 / h for 96 cores.
CORE_USD_S = 4.284 / 96 / 3600
CPU_SERVER_CORES = 32  # more cores than this add no bandwidth to one CPU server
TAIL = 1.15  # p90 over p50 of a step where it was not measured
CALL_S = 0.0002  # handing a call to a worker process and back, measured on a 2-core x86 VM
UNKNOWN_ITEM_S = 0.1  # one item of a tool nobody has measured; declared
GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class _Server:
    """A model server in a slot with everything that does not depend on the call."""

    executor: Executor
    pool: Pool
    serving: Serving
    gpus: int
    cores: int
    time_ratio: Curve | None  # measured over analytic time of a step, over concurrency
    prefill_ratio: Curve | None  # the same of reading a prompt
    power_ratio: Curve | None
    tails: Tails
    origin: Provenance
    startup_s: float
    wake_s: float  # to change over to it from another server; 0 where it cannot sleep
    cpu_busy_w: float
    cpu_idle_w: float
    usd_per_s: float
    weight_bytes: float
    host_bytes: float


class ProfileCostModel:
    """CostModel over profiles and the analytic model; answers depend on arguments only.

    Where a (model, GPU, degree) has load points, the analytic step time and power are multiplied by
    measured over analytic at the points, interpolated over concurrency: lengths other than the
    measured ones follow the analytic model. Other degrees and devices are analytic.
    """

    def __init__(self, profiles: Profiles | None = None, catalog: Catalog | None = None) -> None:
        """Use the shipped profiles and catalogue where none are given."""
        self._profiles = load_profiles() if profiles is None else profiles
        self._catalog = load_catalog() if catalog is None else catalog
        # prepared servers by what identifies them cheaply; `_server` checks the rest
        self._servers: dict[tuple[str, str, str, int], _Server] = {}

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the profiles and the catalogue."""
        return hashlib.sha256(f"{self._profiles.digest} {self._catalog!r}".encode()).hexdigest()

    def slots(self, executor: Executor, cluster: Cluster) -> tuple[Slot, ...]:
        """Return where one replica can stand: pools in file order, GPUs before CPUs, by degree."""
        if "remote" in executor.devices:
            return (Slot(None, "remote"),)
        found: list[Slot] = []
        for pool in cluster.pools:
            if "gpu" in executor.devices:
                found += [
                    Slot(pool, "gpu", n) for n in TENSOR_PARALLEL if self._fits(executor, pool, n)
                ]
            if "cpu" in executor.devices and self._fits(executor, pool, 0):
                found.append(Slot(pool, "cpu"))
        return tuple(found)

    def concurrencies(self, executor: Executor, slot: Slot) -> tuple[int, ...]:
        """Return powers of two up to what cores, or memory at 1,000 tokens a call, allow."""
        if slot.pool is None:
            most_at_once = executor.endpoint_concurrency or CONCURRENCIES[6]
            return tuple(c for c in CONCURRENCIES if c <= most_at_once)
        if executor.runner == "python":
            most = float(slot.pool.cpu.cores // executor.cores)
            if executor.pooling == "process" and executor.memory_bytes:
                most = min(most, slot.pool.memory_bytes // executor.memory_bytes)
        else:
            most = self._server(executor, slot).serving.sequences(1000.0)
        return tuple(c for c in CONCURRENCIES if c <= max(1.0, most))

    def estimate(
        self,
        executor: Executor,
        knobs: Mapping[str, Attr],
        slot: Slot,
        work: Work,
        concurrency: int,
    ) -> Estimate:
        """Return what one replica takes with this many equal calls in flight.

        Knobs act through `work` and `max_tokens`, which bounds the output. Calls beyond what memory
        holds wait their turn.
        """
        limit = knobs.get("max_tokens")
        if isinstance(limit, (int, float)):
            bounded = (min(work.output_tokens[0], limit), min(work.output_tokens[1], limit))
            work = Work(work.prompt_tokens, bounded, work.items)
        if slot.pool is None:
            key = (executor.model or executor.name, "remote", 0)
            points = self._profiles.tokens.get(key, ())
            return remote_estimate(executor, work, concurrency, points)
        if executor.runner == "python":
            return self._tool(executor, slot.pool, work, concurrency)
        return _serve(self._server(executor, slot), work, concurrency)

    def why_not(self, executor: Executor, cluster: Cluster) -> str | None:
        """Return why an executor has no slot on a cluster, in words, or None when it has one."""
        if self.slots(executor, cluster):
            return None
        model = self._model(executor)
        if executor.model is not None and model is None:
            return _no_figures(executor)
        if model is not None and "gpu" in executor.devices and any(p.gpu for p in cluster.pools):
            need = model.weight_bytes / 1e9
            return (
                f"the {need:.0f} GB of weights of `{executor.model}` do not fit on the GPUs of any "
                f"node of `{cluster.name}`"
            )
        if "cpu" in executor.devices:
            return f"no node of `{cluster.name}` has the cores and memory that it needs"
        return f"it needs a GPU and `{cluster.name}` has none"

    def _fits(self, executor: Executor, pool: Pool, gpus: int) -> bool:
        """Tell whether a replica fits a node: on this many GPUs, or on its CPU where 0."""
        if executor.runner == "python":
            return executor.cores <= pool.cpu.cores and executor.memory_bytes <= pool.memory_bytes
        model = self._model(executor)
        if model is None or gpus > pool.gpus or (gpus and pool.gpu is None):
            return False
        if not gpus and executor.cores > pool.cpu.cores:
            return False
        if gpus > 1 and (model.kind != "llm" or model.q_heads % gpus):
            return False  # small models gain nothing from several GPUs; heads must share out evenly
        held = min(SERVED_TOKENS, float(model.context_tokens))
        return serving_on(model, pool, gpus, _cpu_server_cores(pool, executor)).sequences(held) >= 1

    def _model(self, executor: Executor) -> Model | None:
        """Return the figures of an executor's model: its folder's, or the catalogue's."""
        if not is_folder(executor):
            return self._catalog.models.get(executor.model or "")
        try:
            return folder_model(executor)
        except InputError:
            return None  # `why_not` tells

    def _server(self, executor: Executor, slot: Slot) -> _Server:
        """Return the prepared server of an executor in a slot, preparing it the first time."""
        pool = slot.pool
        model = self._model(executor)
        if pool is None or model is None:
            raise ValueError(f"`{executor.name}` is no server with a place")
        key = (executor.name, pool.name, slot.device, slot.gpus)
        known = self._servers.get(key)
        if known is not None and known.executor is executor and known.pool is pool:
            return known
        server = self._prepare(executor, model, pool, slot.gpus)
        self._servers[key] = server
        return server

    def _prepare(self, executor: Executor, model: Model, pool: Pool, gpus: int) -> _Server:
        serving = serving_on(model, pool, gpus, _cpu_server_cores(pool, executor))
        gpu = pool.gpu if gpus else None
        key = (executor.model or "", "cpu" if gpu is None else gpu.type, gpus)
        points = self._profiles.tokens.get(key, ())
        origin: Provenance = self._profiles.origins[key] if points else "analytic"
        own = SERVER_CORES + gpus
        cores = min(own, pool.cpu.cores) if gpus else _cpu_server_cores(pool, executor)
        share = cores / pool.cpu.cores
        reading_s = prompt_token_s(points)

        def prompt_s(point: TokenPoint) -> float:
            """Return the time to read one prompt token at a load: measured, or analytic."""
            return _prompt_token_s(point, serving) if reading_s is None else reading_s

        return _Server(
            executor=executor,
            pool=pool,
            serving=serving,
            gpus=gpus,
            cores=cores,
            time_ratio=token_curve(points, lambda p: _time_ratio(p, serving, prompt_s(p))),
            prefill_ratio=token_curve(
                points,
                lambda p: prefill_share(p, prompt_s(p)) * prompt_s(p) / _prompt_token_s(p, serving),
            ),
            power_ratio=token_curve(points, lambda p: _power_ratio(p, serving)),
            tails=Tails.of(points),
            origin=origin,
            startup_s=self._profiles.starts.get(
                key, SERVER_START_S + model.weight_bytes / LOAD_BYTES_S
            ),
            wake_s=change_s(executor, gpus, model.weight_bytes, self._profiles.changes.get(key)),
            cpu_busy_w=pool.cpu.busy_w * share if gpus else 0.0,  # a CPU device has it already
            cpu_idle_w=pool.cpu.idle_w * share if gpus else 0.0,
            usd_per_s=pool.usd_per_s * gpus / pool.gpus if gpus else _cpu_usd_per_s(pool, cores),
            weight_bytes=model.weight_bytes,
            host_bytes=SERVER_HOST_BYTES * (1 + gpus) + (0.0 if gpus else model.weight_bytes),
        )

    def _tool(self, executor: Executor, pool: Pool, work: Work, concurrency: int) -> Estimate:
        key = (executor.name, "cpu", 0)
        points = self._profiles.items.get(key, ())
        origin: Provenance = self._profiles.origins[key] if points else "declared"
        if points and points[0].source.startswith("declared"):
            origin = "declared"
        # more calls than cores take turns
        cores = min(concurrency * executor.cores, pool.cpu.cores)
        turns = max(1.0, concurrency * executor.cores / pool.cpu.cores)
        point = _item_point(points, concurrency / turns)
        p50, p90 = _item_seconds(point)
        least = CALL_S * turns
        latency = Latency.log_normal(
            least + work.items[0] * p50 * turns, least + work.items[1] * p90 * turns
        )
        if point is not None:
            latency = with_tails(latency, *(over_median(point.latency_s, i) for i in (1, 2, 3)))
        share = cores / pool.cpu.cores
        processes = concurrency if executor.pooling == "process" else 1
        return Estimate(
            latency=latency,
            calls_per_s=concurrency / latency.p50,
            startup_s=self._profiles.starts.get(key, executor.startup_s),
            busy_w=pool.cpu.busy_w * share,
            idle_w=pool.cpu.idle_w * share,
            usd_per_s=_cpu_usd_per_s(pool, cores),
            usd_per_call=0.0,
            cores=cores,
            memory_bytes=processes * executor.memory_bytes,
            gpu_memory_bytes=0.0,
            source=origin,
            error_band=BANDS[origin],
        )


def _no_figures(executor: Executor) -> str:
    if not is_folder(executor):
        return f"the model catalogue has no figures for `{executor.model}`"
    try:
        return f"`{folder_model(executor).name}` is not there any more"
    except InputError as error:
        return error.diagnostics[0].message


def _cpu_server_cores(pool: Pool, executor: Executor) -> int:
    """Return the cores of a replica on a CPU: what its entry says, else as many as help."""
    return min(executor.cores or CPU_SERVER_CORES, pool.cpu.cores)


def _cpu_usd_per_s(pool: Pool, cores: int) -> float:
    """Return the price of cores: their share of the node, or less where GPUs make it dear."""
    share = pool.usd_per_s * cores / pool.cpu.cores
    return min(share, CORE_USD_S * cores) if pool.gpus else share


def _prompt(point: TokenPoint) -> float:
    return ASSUMED_PROMPT_TOKENS if point.isl_tok is None else point.isl_tok


def _context(point: TokenPoint) -> float:
    return _prompt(point) + (point.osl_tok or 0.0) / 2


def _prompt_token_s(point: TokenPoint, serving: Serving) -> float:
    """Return what the analytic model says of reading one prompt token at a load."""
    prompt = _prompt(point)
    return serving.prefill_s(prompt, point.concurrency, point.osl_tok or 1.0) / prompt


def _time_ratio(point: TokenPoint, serving: Serving, prompt_s: float) -> float | None:
    step = step_s(point, prompt_s)
    if step is None:
        return None
    return step / serving.step_s(point.concurrency, _context(point))


def _power_ratio(point: TokenPoint, serving: Serving) -> float | None:
    if point.power_w is None:
        return None
    output = point.osl_tok or 1.0
    return point.power_w / serving.power_w(point.concurrency, _prompt(point), output)


def _serve(server: _Server, work: Work, concurrency: int) -> Estimate:
    """Return a model server's estimate: every call decodes beside the others and their prefills.

    With equal calls in a closed loop, each one's cycle holds its own decode steps and one prefill
    of every call in flight, so throughput is calls in flight over the cycle.
    """
    serving = server.serving
    prompt, prompt_90 = work.prompt_tokens
    output, output_90 = work.output_tokens
    room = serving.sequences(prompt_90 + output_90)
    held = max(1.0, min(float(concurrency), room))
    waiting = concurrency / held
    ratio = 1.0 if server.time_ratio is None else server.time_ratio.at(held)
    reading = 1.0 if server.prefill_ratio is None else server.prefill_ratio.at(held)
    tail = TAIL if server.tails.p90 is None else server.tails.p90.at(held)
    context = prompt + output / 2
    step = ratio * serving.step_s(held, context)
    step_90 = tail * ratio * serving.step_s(held, prompt_90 + output_90 / 2)
    prefills = reading * held * serving.prefill_s(prompt, held, output)
    p50 = waiting * (REQUEST_S + max(output, 1.0) * step + prefills)
    prefills_90 = reading * held * serving.prefill_s(prompt_90, held, output_90)
    p90 = waiting * (REQUEST_S + max(output_90, 1.0) * step_90 + prefills_90)
    power = serving.power_w(held, prompt, output)
    if server.power_ratio is not None:
        power *= server.power_ratio.at(held)
    keys = serving.free_bytes * held / max(held, room)
    kv_bytes = 0.0 if server.gpus else _kv_cache_bytes(server, keys)
    return Estimate(
        latency=server.tails.on(Latency.log_normal(p50, p90), held),
        calls_per_s=concurrency / p50,
        startup_s=server.startup_s,
        busy_w=power + server.cpu_busy_w,
        idle_w=serving.idle_w + server.cpu_idle_w,
        usd_per_s=server.usd_per_s,
        usd_per_call=0.0,
        cores=server.cores,
        memory_bytes=min(server.host_bytes + kv_bytes, server.pool.memory_bytes),
        gpu_memory_bytes=serving.gpu_bytes(keys) if server.gpus else 0.0,
        source=server.origin,
        error_band=serving.error_band if server.origin == "analytic" else BANDS[server.origin],
        kv_cache_bytes=kv_bytes,
        wake_s=server.wake_s,
        asleep_bytes=server.weight_bytes if server.gpus else 0.0,
    )


def _kv_cache_bytes(server: _Server, used: float) -> float:
    """Return the host memory that a CPU server is to set aside for keys and values.

    As much as the calls in flight need, in whole GiB as vLLM counts it, and no more than fits.
    """
    most = max(server.serving.free_bytes, GIB)
    return min(max(1.0, math.ceil(used / GIB)), most // GIB) * GIB


def _item_point(points: tuple[ItemPoint, ...], at_once: float) -> ItemPoint | None:
    """Return the load point nearest to so many calls at work at once; None where there is none."""

    def distance(point: ItemPoint) -> float:
        return abs(point.load_items_per_s * (point.latency_s[0] or 0.0) - at_once)

    return min(points, key=distance, default=None)


def _item_seconds(point: ItemPoint | None) -> tuple[float, float]:
    """Return the seconds of one item at p50 and p90."""
    if point is None:
        return UNKNOWN_ITEM_S, UNKNOWN_ITEM_S * TAIL
    p50, p90 = point.latency_s[:2]
    median = UNKNOWN_ITEM_S if p50 is None else p50
    return median, median * TAIL if p90 is None else p90
