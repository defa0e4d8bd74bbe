"""Services of one program: the best plan there is, complete and within what is required."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from murakkab.compiler.driver import Compiled, Request, compile_workflow
from murakkab.ir.diagnostics import CompileError, InputError
from murakkab.passes.bind import Bind
from murakkab.passes.formulate import limits_of
from murakkab.passes.service.problem import Column
from murakkab.passes.service.program import ServedProgram
from murakkab.passes.service.refusal import limits_within
from murakkab.runtime.replay import replay
from murakkab.targets.plan import plan_from_json
from murakkab.targets.service_plan import ServicePlan

from .worlds import LAPTOP, flow, world

CLUSTER = """name = "one"
[[pool]]
name = "a100"
nodes = {nodes}
gpu = {{ type = "A100-SXM4-80GB", count = 8 }}
cpu = {{ type = "EPYC-7V12", cores = 96 }}
memory = "900 GB"
price = "$27.20 / h"
"""
PROGRAM = """import "std/text"
import "std/media"
workflow w(query: Text, video: Video) -> Text
    {clauses}
    expect video.duration = 40 s
    expect len(scenes) = 4
{{
    scenes = split_scenes(video)
    notes = for scene in scenes {{
        frames = sample_frames(scene) with {{ frames <= 2 }}
        yield read_text(frames)
    }}
    return answer(query, notes)
}}
"""


def compiled(folder: Path, clauses: str, *, nodes: int = 2, level: int = 2) -> Compiled:
    (folder / "w.mkb").write_text(PROGRAM.format(clauses=clauses))
    (folder / "cluster.toml").write_text(CLUSTER.format(nodes=nodes))
    return compile_workflow(
        Request(source=folder / "w.mkb", cluster=folder / "cluster.toml", level=level)
    )


@pytest.mark.parametrize("rate", [0.05, 2.0, 10.0])
@pytest.mark.parametrize("metric", ["cost", "energy", "gpus"])
def test_what_is_held_keeps_up_and_what_is_promised_follows_from_it(
    tmp_path: Path, rate: float, metric: str
) -> None:
    found = compiled(tmp_path, f"minimize {metric} expect rate = {rate} / s", nodes=8)
    plan, service = found.plan, found.plan.service
    assert service is not None
    (epoch,) = service.epochs
    held_usd = sum(n * i.usd_per_s for n, i in zip(epoch.instances, service.instances, strict=True))
    held_w = sum(n * i.idle_w for n, i in zip(epoch.instances, service.instances, strict=True))
    direct = [sum(r.share * getattr(r, of) for r in epoch.routes) for of in ("usd", "energy_j")]
    assert plan.predicted.cost_usd == pytest.approx(held_usd / rate + direct[0], rel=1e-6)
    assert plan.predicted.energy_j == pytest.approx(held_w / rate + direct[1], rel=1e-6)
    assert plan.predicted.gpus == sum(service.gpus(epoch).values())
    for index, n in enumerate(epoch.instances):
        asked = sum(r.share * dict(r.busy).get(index, 0.0) for r in epoch.routes)
        assert rate * asked <= n * (1 + 1e-6)
    assert all(kind.meets for kind in replay(service))
    assert epoch.bound <= epoch.value * (1 + 1e-9)
    # servers of the route that is run: as many as were planned, on GPUs of their own
    counts = {i.name: n for i, n in zip(service.instances, epoch.instances, strict=True)}
    taken = [(p.node, g) for e in plan.engines for p in e.places for g in p.gpus]
    assert len(taken) == len(set(taken))
    for engine in plan.engines:
        if engine.loads_model:
            assert engine.replicas == len(engine.places) == counts[_instance(plan, engine.name)]


def _instance(plan: object, engine: str) -> str:
    """Return the kind of instance that a step of an engine is planned on."""
    service, steps = plan.service, plan.steps  # type: ignore[attr-defined]
    names = {step.step for step in steps if step.engine == engine}
    route = service.epochs[0].routes[0]
    (index,) = {step.instance for step in route.steps if step.step in names}
    return str(service.instances[index].name)


@pytest.mark.parametrize("clauses", ["", "require p95 latency <= 30 s", "require accuracy >= 0.97"])
def test_no_other_configuration_is_better(tmp_path: Path, clauses: str) -> None:
    """Of each step the configurations on every slot and load, alone: no plan of them is cheaper."""
    rate = 0.5
    found = compiled(tmp_path, f"minimize cost expect rate = {rate} / s {clauses}").plan
    context = world(tmp_path / "cluster.toml")
    text = PROGRAM.format(clauses=f"minimize cost expect rate = {rate} / s {clauses}")
    module = Bind().run(
        flow(text.partition("workflow")[1] + text.partition("workflow")[2]), context
    )
    served = ServedProgram(module, context, rate)
    limits = limits_of(module.sole().requirements, 1.0, 0.95)
    problem = served.problem(limits_within(limits, 1.0), "cost")
    kind = problem.classes[0]
    # variants that another has no more of anything than: enough for whole numbers of instances
    kept = []
    for stage in kind.stages:
        best: dict[tuple[object, ...], int] = {}
        for number, v in enumerate(stage.variants):
            best.setdefault((v.engine, v.configuration, round(v.latency_s, 1)), number)
        kept.append(list(best.values()))
    if math.prod(map(len, kept)) > 300_000:
        kept = [numbers[:: max(1, len(numbers) // 20)] for numbers in kept]
    least = math.inf
    for choices in itertools.product(*kept):
        column = Column.of(kind, choices)
        if column.accuracy < (kind.accuracy or 0.0):
            continue
        if kind.latency_s is not None and column.latency_s > kind.latency_s:
            continue
        usd = (
            column.usd
            + sum(math.ceil(rate * s - 1e-6) * problem.engines[e].usd_per_s for e, s in column.busy)
            / rate
        )
        least = min(least, usd)
    assert found.predicted.cost_usd <= least * (1 + 1e-6)


def test_a_plan_is_read_again_with_its_service(tmp_path: Path) -> None:
    plan = compiled(tmp_path, "expect rate = 120 / min").plan
    text = plan.to_json()
    again = plan_from_json(text)
    assert again == plan and again.to_json() == text
    assert isinstance(again.service, ServicePlan)
    wrong = replace(plan, service=replace(plan.service, period_s=1.0))  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"service/its epochs end at 3600 s"):
        plan_from_json(wrong.to_json())


def test_equal_programs_have_equal_plans(tmp_path: Path) -> None:
    clauses = "minimize energy expect rate = 3 / s require p95 latency <= 60 s"
    one, other = (compiled(tmp_path, clauses).plan.to_json() for _ in range(2))
    assert one == other


@pytest.mark.parametrize("metric", ["cost", "energy", "gpus", "latency"])
def test_never_worse_than_no_optimisation(tmp_path: Path, metric: str) -> None:
    clauses = f"minimize {metric} expect rate = 1 / s"
    plan = compiled(tmp_path, clauses).plan
    assert plan.baseline is not None
    assert plan.predicted.of(metric) <= plan.baseline.of(metric) * (1 + 1e-6)  # type: ignore[arg-type]
    # what -O0 holds keeps up too
    reference = compiled(tmp_path, clauses, level=0).plan
    assert reference.predicted.of(metric) == pytest.approx(plan.baseline.of(metric))  # type: ignore[arg-type]


def test_accuracy_first_has_the_best_there_is(tmp_path: Path) -> None:
    plan = compiled(tmp_path, "maximize accuracy expect rate = 1 / s").plan
    assert plan.predicted.accuracy == pytest.approx(1.0)
    assert plan.service is not None and plan.predicted.gpus <= 16


def test_limits_at_two_percentiles_hold_both(tmp_path: Path) -> None:
    clauses = "expect rate = 1 / s require latency <= 12 s require p99 latency <= 25 s"
    found = compiled(tmp_path, clauses).plan.predicted.latency_s
    assert found["p50"] <= 12.0 and found["p99"] <= 25.0


@pytest.mark.parametrize(
    ("clauses", "said", "hint"),
    [
        (
            "expect rate = 500 / s",
            "`expect rate = 500 / s` and the cluster's 16 GPUs cannot all be met",
            "a rate of ",
        ),
        (
            "expect rate = 1 / s require p95 latency <= 10 ms",
            "`p95 latency <= 10 ms` cannot be met",
            "`p95 latency <= 10 ms` would be feasible at ",
        ),
        (
            "expect rate = 1 / s require accuracy >= 0.999 require p95 latency <= 4 s",
            "`accuracy >= 0.999` and `p95 latency <= 4 s` cannot all be met",
            "`p95 latency <= 4 s` would be feasible at ",
        ),
        (
            "expect rate = 1 / s require cost <= $0.00000001",
            "`cost <= $0.00000001` cannot be met",
            "`cost <= $0.00000001` would be feasible at $",
        ),
    ],
)
def test_what_conflicts_is_told_with_what_would_do(
    tmp_path: Path, clauses: str, said: str, hint: str
) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(tmp_path, clauses)
    (found,) = caught.value.diagnostics
    assert said in found.message
    assert found.help is not None and hint in found.help
    assert found.span is not None
    assert (Path(found.span.file).name, found.span.line) == ("w.mkb", 4)


def test_what_runs_on_cores_is_limited_by_them(tmp_path: Path) -> None:
    (tmp_path / "w.mkb").write_text(PROGRAM.format(clauses="expect rate = 1000 / s"))
    with pytest.raises(CompileError, match=r"1000 / s` and the cluster's \d+ cores cannot all"):
        compile_workflow(Request(source=tmp_path / "w.mkb", cluster=LAPTOP))
    (tmp_path / "w.mkb").write_text(PROGRAM.format(clauses="expect rate = 1 / h"))
    plan = compile_workflow(Request(source=tmp_path / "w.mkb", cluster=LAPTOP)).plan
    assert plan.service is not None and plan.predicted.gpus == 0


def test_a_limit_of_cost_is_met_where_energy_comes_first(tmp_path: Path) -> None:
    free = compiled(tmp_path, "minimize energy expect rate = 1 / s").plan.predicted
    least = compiled(tmp_path, "minimize cost expect rate = 1 / s").plan.predicted
    limit = (free.cost_usd + least.cost_usd) / 2
    clauses = f"minimize energy expect rate = 1 / s require cost <= ${limit:.9f}"
    assert compiled(tmp_path, clauses).plan.predicted.cost_usd <= limit * (1 + 1e-6)
