"""The plan: the versioned JSON document that a runtime carries out and people inspect.

A plan is complete (placed IR, engines and where they stand, timeline, predictions for itself and
for `-O0`, proof, digests of every input) and inert: loading one validates data and executes
nothing. It names executors and runners; the runtime maps the names to code it already has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

from ..ir.diagnostics import CompileError, Diagnostic, InputError
from ..ir.ops import Attr
from ..ir.quantities import UNITS
from ..ir.reader import read_module
from ..ir.remarks import Remark
from ..ir.verifier import verify
from ..ir.workflow import MetricName, Module
from .conformance import load_schema, violation
from .endpoint import EndpointPlan
from .failure_policy import USUAL, FailurePolicy
from .json_document import built, strict_json
from .service_plan import ServicePlan, fault

SCHEMA = "murakkab/plan/1"
_MAX_PLAN_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one request takes: seconds per percentile, joules, dollars, accuracy, GPUs held.

    Latency counts from the request's arrival with the first engines running; `startup_s` is what
    starting them takes before. Energy and cost include start-up. `breaks` are the requirements in
    the author's words that this configuration would not meet (only `-O0` may break any).
    """

    latency_s: Mapping[str, float]
    energy_j: float
    cost_usd: float
    accuracy: float
    gpus: int
    startup_s: float
    error_band: float
    breaks: tuple[str, ...] = ()

    def of(self, metric: MetricName, percentile: str = "p50") -> float:
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where one replica stands: a node of a pool, and the GPUs it takes there."""

    pool: str
    node: int
    gpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """An engine to run; `concurrency` is the calls in flight over all replicas.

    Of one replica: `cores` of its node, `memory_share` of each of its GPUs' memory, and
    `kv_cache_bytes` of host memory for keys and values where it is a model server on a CPU.
    `prestarted` engines are up before the run's clock starts. Others are started within the run, at
    `start_s`, or, with a `wake_s`, are started before it, put to sleep, and woken then: that takes
    `wake_s`, the time in which the engine before it gives up its place included. `endpoint` is
    where it attaches instead of starting anything. `gpu` is the type of its GPUs. `revision` is
    that of its model on the hub, where one is named: by the workflow's lock, or by the library.
    """

    name: str
    executor: str
    executor_digest: str
    runner: str
    model: str | None
    slot: str
    device: str
    tp: int
    replicas: int
    concurrency: int
    places: tuple[Place, ...]
    start_s: float
    end_s: float
    startup_s: float
    cores: int = 1
    memory_share: float = 0.0
    kv_cache_bytes: float = 0.0
    prestarted: bool = True
    endpoint: EndpointPlan | None = None
    revision: str | None = None
    gpu: str | None = None
    wake_s: float = 0.0

    @property
    def late_s(self) -> float:
        """Return what passes within the run before its first call: its start, or its waking."""
        if self.prestarted:
            return 0.0
        return self.wake_s or self.startup_s

    @property
    def loads_model(self) -> bool:
        """Whether it loads a model where it stands: its runner does, and it is not attached."""
        return self.runner in ("vllm", "torch") and self.model is not None and self.endpoint is None


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way a step could have been done: the whole plan's figures then, or why it is out.

    `latency_s` is the median, the others are as in `Prediction`.
    """

    variant: str
    slot: str
    latency_s: float | None = None
    energy_j: float | None = None
    cost_usd: float | None = None
    accuracy: float | None = None
    why_not: str | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class SubstitutePlan:
    """What does a step's calls when its own engine cannot: on another engine, at a `quality`.

    `call_s`, `energy_j` and `cost_usd` are of one call.
    """

    executor: str
    knobs: Mapping[str, Attr]
    engine: str
    quality: float
    call_s: float
    energy_j: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step as placed; `executor` None means optional work left out.

    `calls` is how often it is expected to run, `call_s` the seconds of one call per percentile,
    `energy_j` and `cost_usd` those of all calls, `items` the expected length of a list result.
    """

    step: str
    task: str
    executor: str | None
    knobs: Mapping[str, Attr]
    engine: str | None
    slot: str
    calls: float
    call_s: Mapping[str, float]
    start_s: float
    end_s: float
    energy_j: float
    cost_usd: float
    quality: float
    items: float | None
    source: str
    error_band: float
    alternatives: tuple[Alternative, ...] = ()
    substitute: SubstitutePlan | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """One objective of the lexicographic order: value, proven bound, relative gap."""

    metric: str
    value: float
    bound: float
    gap: float


@dataclass(frozen=True, slots=True)
class Solver:
    """How the placement was found; status `optimal`, `feasible`, `greedy` or `fixed` (-O0, -O1)."""

    status: str
    objectives: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class Carbon:
    """The grid that a plan's power comes from, and what one request then stands for.

    `carbon_g` are grams of CO2 equivalents: the predicted energy at `g_per_kwh`, the grid's mean
    over `year`.
    """

    region: str
    g_per_kwh: float
    year: int
    source: str
    carbon_g: float

    def grams(self, joules: float) -> float:
        """Return the grams of CO2 equivalents that another amount of energy stands for."""
        return joules / UNITS["kWh"][1] * self.g_per_kwh


@dataclass(frozen=True, slots=True)
class Plan:
    """A job plan. `digests` are of every input; `carbon` is known where the cluster has a region.

    `ir` is the placed module's text, and `flow` that of what the author wrote, for people to see
    what became of it; nothing is run by `flow`. `service` is what was planned for all requests
    where there is a rate of them: `ir` is then its largest route, and `predicted` of all. `remarks`
    say what the passes rewrote, and what they refused to. `failure` is what a run does about calls
    that fail.
    """

    schema: Literal["murakkab/plan/1"]
    kind: Literal["job"]
    workflow: str
    target: str
    cluster: str
    passes: str
    ir: str
    engines: tuple[EnginePlan, ...]
    steps: tuple[StepPlan, ...]
    predicted: Prediction
    baseline: Prediction | None
    solver: Solver
    digests: Mapping[str, str]
    notes: tuple[str, ...] = ()
    flow: str = ""
    carbon: Carbon | None = None
    service: ServicePlan | None = None
    remarks: tuple[Remark, ...] = ()
    failure: FailurePolicy = USUAL

    def executors(self) -> frozenset[str]:
        """Return the names of the executors that its steps and engines are of."""
        return frozenset(
            {executor for _, executor in self.users()} | {e.executor for e in self.engines}
        )

    def users(self) -> Iterator[tuple[str, str]]:
        """Yield engines with the executors of steps on them, of those that stand by too."""
        for step in self.steps:
            if step.engine is not None and step.executor is not None:
                yield step.engine, step.executor
            if step.substitute is not None:
                yield step.substitute.engine, step.substitute.executor

    def module(self) -> Module:
        """Return the placed module; raises CompileError where `ir` is not the text of one."""
        return _module(self.ir)

    def written(self) -> Module | None:
        """Return the flow module, if the plan has it; raises CompileError like `module`."""
        return _module(self.flow) if self.flow else None

    def to_json(self) -> str:
        """Return the plan's only text form: sorted keys, two-space indent, a final newline."""
        document = asdict(self)
        for step in document["steps"]:
            if step["substitute"] is None:
                del step["substitute"]
        if self.service is not None:
            document["service"] = self.service.document()
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return text + "\n"


@lru_cache(maxsize=4)
def _module(text: str) -> Module:
    """Read a plan's IR, once for all who ask: a module is as frozen as its text."""
    return read_module(text, "<plan>")


def plan_schema() -> Mapping[str, Any]:
    """Return the published JSON Schema of plans."""
    return load_schema("plan")


def plan_from_json(text: str, path: str = "<plan>") -> Plan:
    """Read and validate a plan; raises InputError saying what is wrong with the document.

    Nothing in the document is executed, imported or opened.
    """
    if len(text) > _MAX_PLAN_BYTES:
        raise _refused(path, f"the document is over {_MAX_PLAN_BYTES // 2**20} MiB")
    try:
        document = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"not valid JSON (truncated?): {error}") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise _refused(path, "not a plan: it has no `schema` field")
    if document["schema"] != SCHEMA:
        raise _refused(
            path,
            f"its schema is `{str(document['schema'])[:60]}`, this version reads `{SCHEMA}`",
            help="compile the workflow again with this version",
        )
    try:
        return _validated(document, path)
    except RecursionError:
        raise _refused(path, "it is nested too deeply") from None


def _validated(document: Mapping[str, Any], path: str) -> Plan:
    wrong = violation(document, plan_schema())
    if wrong is not None:
        raise _refused(path, wrong)
    if document.get("service") is not None:
        wrong = fault(document["service"])
        if wrong is not None:
            raise _refused(path, f"service/{wrong}")
    plan: Plan = built(Plan, document)
    _consistent(plan, path)
    return plan


def _consistent(plan: Plan, path: str) -> None:
    """Check what a schema cannot: the IR is valid, and the tables are the ones it gives."""
    from .lower import tables

    try:
        module, flow = plan.module(), plan.written()
        for found in (module, flow):
            if found is not None:
                verify(found)
    except CompileError as error:
        raise _refused(path, f"its IR is wrong: {error.diagnostics[0].message}") from None
    if module.level != "placed" or [w.name for w in module.workflows] != [plan.workflow]:
        raise _refused(path, f"its IR is not the placed workflow `{plan.workflow}`")
    names = [w.name for w in flow.workflows] if flow is not None else [plan.workflow]
    if names != [plan.workflow] or (flow is not None and flow.level != "flow"):
        raise _refused(path, f"its `flow` is not the workflow `{plan.workflow}` as written")
    try:
        wanted = tables(module)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise _refused(path, f"its IR lacks what a plan is made from: {error}") from None
    steps = tuple(replace(step, alternatives=()) for step in plan.steps)
    for name, rows, theirs in (
        ("engines", plan.engines, wanted.engines),
        ("steps", steps, wanted.steps),
        ("predicted", (plan.predicted,), (wanted.predicted,)),
        ("solver", (plan.solver,), (wanted.solver,)),
    ):
        disagreement = _disagreement(name, rows, theirs)
        if disagreement is not None:
            raise _refused(path, disagreement)


def _disagreement(table: str, rows: tuple[Any, ...], theirs: tuple[Any, ...]) -> str | None:
    """Say where a table differs from the one the IR gives, or None where it does not."""
    if len(rows) != len(theirs):
        return f"`{table}` has {len(rows)} entries, its IR has {len(theirs)}"
    for index, (row, other) in enumerate(zip(rows, theirs, strict=True)):
        for f in fields(row):
            mine, its = getattr(row, f.name), getattr(other, f.name)
            if mine != its:
                where = f"{table}/{index}" if len(rows) > 1 else table
                return f"{where}: `{f.name}` is {_shown(mine)}, in its IR it is {_shown(its)}"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _refused(path: str, why: str, help: str | None = None) -> InputError:
    return InputError(Diagnostic("invalid-plan", f"cannot use plan `{path}`: {why}", help=help))
