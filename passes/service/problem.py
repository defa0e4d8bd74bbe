"""The problem of a service as plain data: what request classes ask for, and what can serve them.

A *stage* is a call site of a workflow; a *variant* is one way to carry it out: an executor with
knobs on an engine at a load point. An *engine* is a kind of instance that may be held: a model on
so many GPUs. A *class* is a workflow with its requirements and the requests that come for it. A
*column* is one choice of a variant for every stage: a configuration of the whole workflow.

Work is counted in instance-seconds: how long a request occupies an instance of an engine at the
variant's load point. At a load of 700 tokens/s a request of 350 tokens takes half of one, however
many requests share the instance meanwhile.

Times are seconds, energies joules, money US dollars; accuracy is absolute, in (0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

Objective = Literal["cost", "energy", "gpus"]
OBJECTIVES: tuple[Objective, ...] = ("cost", "energy", "gpus")


@dataclass(frozen=True, slots=True)
class Hardware:
    """A pool of nodes that instances stand on: what all its nodes have together."""

    name: str
    gpu: str | None  # a type of the catalogue
    gpus: int
    cores: int


@dataclass(frozen=True, slots=True)
class Engine:
    """A kind of instance: what one takes while it is held, and what starting one takes.

    `most` bounds how many there may be (a hosted service is one instance of no pool, whose seconds
    are its rate limit).
    """

    name: str
    pool: int  # index into ServiceProblem.pools; -1: hosted elsewhere
    gpus: int
    cores: int
    usd_per_s: float
    idle_w: float
    startup_s: float = 0.0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to carry out a stage; `engine` None means optional work left out.

    `configuration` says what is done, without where and at which load. `source` says where the
    figures come from (`targets.cost.Provenance`; empty: there are none), `error_band` how far off
    times and energy may be, relative.
    """

    label: str
    engine: int | None
    busy_s: float  # instance-seconds a request takes
    latency_s: float
    quality: float
    energy_j: float = 0.0  # beyond the idle draw of the instance
    usd: float = 0.0  # beyond the price of the instance
    load: float = 0.0  # the load point: tokens a second, or calls in flight
    configuration: str = ""
    source: str = ""
    error_band: float = 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A call site: its variants, and the stages that end before it begins."""

    name: str
    variants: tuple[Variant, ...]
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestClass:
    """Requests of one workflow with the same requirements.

    `latency_s` and `accuracy` are limits (None: no requirement), the latter of the product of the
    stages' qualities times `scale`. Requests may be held back for `wait_s` before they begin (for
    the whole periods in that); a share of `late` of them for longer, but not beyond the epoch.
    `work_cv` is the coefficient of variation of what a request takes. `table` has the accuracy of
    the only configurations there are, where they were measured as a whole.
    """

    name: str
    stages: tuple[Stage, ...]
    accuracy: float | None = None
    latency_s: float | None = None
    wait_s: float = 0.0
    late: float = 0.05
    scale: float = 1.0
    work_cv: float = 0.0
    table: Mapping[tuple[str, ...], float] | None = None  # by configuration of each stage


@dataclass(frozen=True, slots=True)
class ServiceProblem:
    """Classes, engines and hardware, and what is to be small."""

    classes: tuple[RequestClass, ...]
    engines: tuple[Engine, ...]
    pools: tuple[Hardware, ...]
    objective: Objective = "cost"


@dataclass(frozen=True, slots=True)
class Column:
    """A configuration of a workflow: a variant of every stage, and what a request of it takes.

    `busy` are pairs (engine, instance-seconds), each engine once.
    """

    choices: tuple[int, ...]
    busy: tuple[tuple[int, float], ...]
    latency_s: float
    accuracy: float
    energy_j: float
    usd: float

    @staticmethod
    def of(kind: RequestClass, choices: Sequence[int]) -> Column:
        """Return the column of these variants, by stage; its latency is the critical path.

        Where configurations were measured, one that was not has an accuracy of 0.
        """
        chosen = [stage.variants[i] for stage, i in zip(kind.stages, choices, strict=True)]
        ends: list[float] = []
        busy: dict[int, float] = {}
        accuracy = kind.scale
        for stage, variant in zip(kind.stages, chosen, strict=True):
            start = max((ends[i] for i in stage.after), default=0.0)
            ends.append(start + variant.latency_s)
            accuracy *= variant.quality
            if variant.engine is not None:
                busy[variant.engine] = busy.get(variant.engine, 0.0) + variant.busy_s
        if kind.table is not None:
            accuracy = kind.table.get(tuple(v.configuration for v in chosen), 0.0)
        return Column(
            choices=tuple(choices),
            busy=tuple(sorted(busy.items())),
            latency_s=max(ends, default=0.0),
            accuracy=accuracy,
            energy_j=sum(v.energy_j for v in chosen),
            usd=sum(v.usd for v in chosen),
        )

    def label(self, kind: RequestClass) -> str:
        """Return the variants by name."""
        chosen = zip(kind.stages, self.choices, strict=True)
        return ", ".join(stage.variants[i].label for stage, i in chosen)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one class when an epoch begins, in requests, oldest first.

    `recent` are the requests that came in each of the last periods and are not late; `waiting` of
    them have not begun.
    """

    waiting: float = 0.0
    recent: tuple[float, ...] = ()

    def came(self) -> tuple[float, ...]:
        """Return what had come, less what had begun, at each period's end up to now."""
        missing = [self.waiting - later for later in accumulate(reversed(self.recent), initial=0.0)]
        return tuple(max(x, 0.0) for x in reversed(missing))


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of time with one fleet: requests of each class in each of its periods.

    `held` are the instances of each engine before it, `backlog` is what each class left over.
    `last`: nothing may be left over.
    """

    requests: tuple[tuple[float, ...], ...]  # by class, by period
    period_s: float
    held: tuple[int, ...] = ()
    backlog: tuple[Backlog, ...] = ()
    last: bool = True

    @property
    def duration_s(self) -> float:
        """Return how long it lasts."""
        return self.period_s * len(self.requests[0]) if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Route:
    """A share of a class's requests that goes through one column."""

    column: Column
    share: float


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The fleet of an epoch and where requests go, what that takes, and how far it is proved.

    `served` are requests by class, by column of `columns`, by period. `usd` and `energy_j` are of
    the whole epoch, start-ups included. `bound` is the least that any plan could take of the
    objective, in the objective's unit; `gap` is relative.
    """

    instances: tuple[int, ...]
    columns: tuple[tuple[Column, ...], ...]  # by class
    served: tuple[tuple[tuple[float, ...], ...], ...]
    usd: float
    energy_j: float
    value: float
    bound: float
    status: str
    backlog: tuple[Backlog, ...] = field(default=())

    @property
    def gap(self) -> float:
        """Return how far the plan may be from the best, relative to it."""
        return max(self.value - self.bound, 0.0) / self.value if self.value > 0 else 0.0

    def routes(self, kind: int) -> tuple[Route, ...]:
        """Return the columns of a class with their shares over the epoch, largest first."""
        sums = [sum(served) for served in self.served[kind]]
        total = sum(sums)
        found = [
            Route(column, amount / total)
            for column, amount in zip(self.columns[kind], sums, strict=True)
            if total > 0 and amount > 1e-9 * total
        ]
        return tuple(sorted(found, key=lambda route: (-route.share, route.column.choices)))


@dataclass(frozen=True, slots=True)
class Unserved(Exception):
    """A class that no configuration can meet; `reason` says what the nearest one reaches."""

    kind: str
    reason: str


class Unfinished(Exception):
    """The solver's time ran out before it found any plan."""


@dataclass(frozen=True, slots=True)
class NoRoom(Exception):
    """Requests that all of the hardware cannot serve; `reason` says what is short."""

    reason: str
