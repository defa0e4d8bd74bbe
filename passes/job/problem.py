"""The placement problem of one job as plain data: what the solvers see, and nothing else.

A *step* is one call site of the workflow. A *mode* is one way to carry it out: an executor with
knobs, an engine it runs on, a concurrency, and what all its calls together take. What a step takes
may depend on what earlier steps emit (10 frames cost more tokens than 5): a mode states in `when`
which output classes of earlier steps it assumes, and in `emits` which class it puts out itself.

Times are seconds, energies joules, money US dollars, memory bytes; accuracy is a factor relative to
the reference plan, or, where whole configurations have been measured, what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...ir.workflow import MetricName

# A measured accuracy of 0 has no logarithm; solvers take it for this.
LEAST_ACCURACY = 1e-9


@dataclass(frozen=True, slots=True)
class Pool:
    """Identical nodes; GPUs, cores and memory are per node."""

    name: str
    nodes: int
    gpus: int
    cores: int
    memory_bytes: float
    gpu_bytes: float = 0.0  # of each GPU's memory, what servers may take of it


@dataclass(frozen=True, slots=True)
class EngineOption:
    """An engine that may be started: an executor's server, or a place where calls just run.

    A *resident* engine holds its GPUs, cores and memory from its start to its last use and draws
    idle power all that time; it is either started before the job (held from time zero) or within
    the timeline, and then `late_s` passes before its first use: its start, or, where it `sleeps`,
    `wake_s`. It was then started before the job all the same, and put to sleep with its weights in
    `asleep_bytes` of host memory, beside `memory_bytes`, until it is woken. A *transient* one
    (resident False) holds resources only while a step runs on it; its modes carry all their energy
    and cost.
    Replicas are equal; every replica stands inside one node. Demands are per replica.
    """

    label: str
    pool: int  # index into Problem.pools; -1: a hosted service, no resources
    resident: bool
    replicas: int
    gpus: int
    cores: int
    memory_bytes: float
    gpu_memory_bytes: float  # per GPU of a replica: weights, keys and values, the server itself
    slots: int  # calls that all replicas together may have in flight
    startup_s: float
    startup_j: float
    startup_usd: float
    idle_w: float  # all replicas together
    usd_per_s: float  # all replicas together
    group: str  # engines of one executor on one kind of hardware: alternatives to each other
    standing: bool = False  # resident and up all the time, beside every other: a service's
    wake_s: float = 0.0  # to change over to it from another engine; 0: it cannot sleep
    asleep_bytes: float = 0.0  # of host memory, per replica
    sleeps: bool = False  # until it is used, unless it is held from time zero
    beside: bool = False  # in the memory of its GPUs from the start, whoever works there before it

    @property
    def late_s(self) -> float:
        """Return what passes within the timeline before its first use, where it is not up at 0."""
        if self.beside:
            return 0.0
        return self.wake_s if self.sleeps else self.startup_s


@dataclass(frozen=True, slots=True)
class Times:
    """How long a step takes at one latency percentile.

    `duration_s`: from its first call's start to its last call's end when inputs do not hold it up.
    `first_s`: from the first input to the first output; `last_s`: from the last input to the last
    output; both matter where items stream from step to step.
    """

    duration_s: float
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to carry out a step in one context; `engine` None means optional work left out."""

    label: str
    engine: int | None
    slots: int  # calls in flight while the step runs; 0 when left out
    times: tuple[Times, ...]  # one per Problem.percentiles
    energy_j: float
    usd: float
    quality: float  # in (0, 1]; a factor of the plan's accuracy
    emits: int = 0
    when: tuple[tuple[int, int], ...] = ()  # (index of an earlier step, class it emits)
    choice: int = 0  # which of its step's configurations it carries out


@dataclass(frozen=True, slots=True)
class Step:
    """A call site: its modes, the steps that must end before it starts, those it streams from."""

    name: str
    modes: tuple[Mode, ...]
    after: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard requirement; `percentile` indexes Problem.percentiles for latency (0 elsewhere)."""

    metric: MetricName
    op: str  # "<=", ">=", "<", ">", "=="
    value: float
    text: str  # the author's own words, quoted in errors
    percentile: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Steps in topological order, engines, hardware, limits, and objectives by priority.

    `accuracies` has the accuracy of every configuration that was measured, by the `choice` of each
    step's mode; no other is allowed then. None: accuracy is the product of the modes' qualities.
    An objective of latency is that at `aimed`, an index into `percentiles`.
    """

    steps: tuple[Step, ...]
    engines: tuple[EngineOption, ...]
    pools: tuple[Pool, ...]
    objectives: tuple[MetricName, ...]
    limits: tuple[Limit, ...] = ()
    percentiles: tuple[str, ...] = ("p50",)  # the first is always p50
    accuracies: Mapping[tuple[int, ...], float] | None = None
    aimed: int = 0

    @property
    def standing(self) -> bool:
        """Whether it is of a service, whose engines are up all the time."""
        return any(engine.standing for engine in self.engines)

    @property
    def timelines(self) -> list[int]:
        """The percentiles at which limits or objectives ask for a timeline; p50 always."""
        limited = {x.percentile for x in self.limits if x.metric == "latency"}
        return sorted({0, self.aimed} | limited)

    def accuracy(self, chosen: Sequence[Mode]) -> float | None:
        """Return the accuracy of a mode for each step; None where it was not measured."""
        if self.accuracies is None:
            return math.prod(mode.quality for mode in chosen)
        return self.accuracies.get(tuple(mode.choice for mode in chosen))

    def rows_with(self, step: int) -> dict[int, list[int]]:
        """Return, for each choice of a step, the numbers of the measured configurations with it."""
        found: dict[int, list[int]] = {mode.choice: [] for mode in self.steps[step].modes}
        for number, choices in enumerate(self.accuracies or ()):
            found.setdefault(choices[step], []).append(number)
        return found


def loss(accuracy: float) -> float:
    """Return minus the logarithm of an accuracy: what adds up, and is the less the better."""
    return -math.log(max(accuracy, LEAST_ACCURACY))


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a placement takes: latency per percentile, energy, cost, peak GPUs held, accuracy."""

    latency_s: tuple[float, ...]
    energy_j: float
    cost_usd: float
    gpus: int
    accuracy: float

    def of(self, metric: MetricName, percentile: int = 0) -> float:
        """Return one metric's value in base units."""
        match metric:
            case "latency":
                return self.latency_s[percentile]
            case "energy":
                return self.energy_j
            case "cost":
                return self.cost_usd
            case "gpus":
                return float(self.gpus)
        return self.accuracy


def stated(metric: MetricName, value: float) -> str:
    """Return a metric's value in base units as requirements state it, with four digits."""
    units = {"latency": " s", "energy": " J"}
    return f"${value:.4g}" if metric == "cost" else f"{value:.4g}{units.get(metric, '')}"


@dataclass(frozen=True, slots=True)
class Hold:
    """When a used engine is held, and the node of each replica with the GPUs it takes there.

    A `woken` one slept until it is held. One `beside` others was in the memory of its GPUs all the
    time: it is held from when the last before it there has left, and pays for the GPUs from then.
    """

    engine: int
    start_s: float
    end_s: float
    prestarted: bool
    replicas: tuple[tuple[int, tuple[int, ...]], ...]  # (node index in the pool, GPU indices)
    woken: bool = False
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """How far one objective was proved: value found, proven bound, relative gap."""

    metric: MetricName
    value: float
    bound: float
    gap: float


@dataclass(frozen=True, slots=True)
class Placement:
    """A solution: a mode per step, the p50 timeline, engines held, metrics, and the proof."""

    modes: tuple[int, ...]
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    holds: tuple[Hold, ...]
    metrics: Metrics
    status: str  # "optimal", "feasible", "greedy" (the solver found nothing better in its limit)
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True, slots=True)
class Nearest:
    """A limit by its words, and the nearest value of its metric, in base units, that can be met.

    The other limits are kept, but for those left `aside`: they are part of other conflicts.
    """

    text: str
    value: float
    aside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why there is no placement: the smallest set of limits that conflict, and what would do.

    `reasons` are the limits' own words and resource sentences; `nearest` has a value for each limit
    among them that has one. `further` are the conflicts beside this one.

    Not `proved`: the search found nothing within its limit, so that there may be a placement after
    all; `reasons` are the limits that the nearest placement it knows breaks, `nearest` its values.
    """

    reasons: tuple[str, ...]
    nearest: tuple[Nearest, ...]
    proved: bool = True
    further: tuple[Conflict, ...] = ()


@dataclass(frozen=True, slots=True)
class Infeasible(Exception):
    """No placement meets the limits."""

    conflict: Conflict
