"""Placement of one job on a node whose cores are scarce (Murakkab, OSDI 2026, section 4.6).

Figures are the shipped library's and catalogue's; the detector's are those of its paper.
"""

import math
from dataclasses import replace

import pytest

from murakkab.cli.explain import explained
from murakkab.compiler.driver import Request, compile_workflow
from murakkab.ir.diagnostics import CompileError
from murakkab.passes.configurations import Configuration, work_of
from murakkab.targets.cost import Slot
from murakkab.targets.plan import Alternative, Plan, StepPlan
from murakkab.targets.sizes import Size

from .worlds import ROOT, flow, world

FOLDER = ROOT / "examples/video_and_code"
DETECTOR = FOLDER / "detector.toml"
NODE = ROOT / "examples/clusters/one-a100-node.toml"


def plan(*requirements: str) -> Plan:
    request = Request(
        source=FOLDER / "video_and_code.mkb",
        target="sim",
        cluster=NODE,
        libraries=(DETECTOR,),
        require=requirements,
    )
    return compile_workflow(request).plan


@pytest.fixture(scope="module")
def five() -> Plan:
    return plan()


def step(of: Plan, name: str) -> StepPlan:
    return next(step for step in of.steps if step.step == name)


def instead(of: Plan, name: str, variant: str, slot: str) -> Alternative:
    found = step(of, name).alternatives
    return next(a for a in found if (a.variant, a.slot) == (variant, slot))


def test_the_detector_takes_one_gpu_speech_the_cores_the_language_model_four(five: Plan) -> None:
    assert five.solver.status == "optimal"
    assert five.predicted.gpus == 5
    assert step(five, "objects").slot == "a100/gpu x1"
    assert step(five, "speech").slot == "a100/cpu"
    answering = [step(five, name) for name in ("first", "remarks", "code", "found")]
    assert {s.slot for s in answering} == {"a100/gpu x4"}
    assert len({s.engine for s in answering}) == 1
    assert five.predicted.latency_s["p50"] <= 30.0


def test_four_gpus_miss_the_deadline_because_of_the_detector(five: Plan) -> None:
    other = instead(five, "objects", "detr-resnet-101", "a100/cpu")
    assert other.gpus == 4
    assert other.latency_s is not None and other.latency_s > 30.0
    assert other.why_not is not None and "`latency <= 30 s`" in other.why_not


def test_four_gpus_do_where_the_detector_stands_beside_the_language_model(five: Plan) -> None:
    """In the memory of one of its GPUs, at work before it: that takes longer, and costs more."""
    four = plan("gpus <= 4")
    assert four.predicted.gpus == 4
    assert step(four, "objects").slot == "a100/gpu x1"
    shares = {engine.name: engine.memory_share for engine in four.engines if engine.gpu}
    assert len(shares) == 2 and sum(shares.values()) <= 0.9
    assert step(four, "objects").end_s <= step(four, "first").start_s
    fast, slow = five.predicted, four.predicted
    assert fast.latency_s["p50"] < slow.latency_s["p50"] <= 30.0
    assert fast.cost_usd < slow.cost_usd
    # what stands on a GPU between the turns is paid for, which the solver's proof does not know
    assert four.solver.status == "feasible"
    assert four.solver.objectives[0].value == slow.cost_usd > four.solver.objectives[0].bound
    with pytest.raises(CompileError) as caught:
        plan("gpus <= 3")
    (finding,) = caught.value.diagnostics
    assert finding.message == "`gpus <= 3` cannot be met"


def test_six_gpus_cost_more_and_are_no_faster(five: Plan) -> None:
    other = instead(five, "speech", "whisper-base", "a100/gpu x1")
    assert other.why_not is None
    assert other.gpus == 6
    assert other.latency_s == pytest.approx(five.predicted.latency_s["p50"])
    assert other.cost_usd is not None and other.cost_usd > five.predicted.cost_usd
    six = plan("gpus == 6")
    assert six.predicted.gpus == 6
    assert six.predicted.cost_usd > five.predicted.cost_usd


def test_explain_tells_both(five: Plan) -> None:
    workflow = five.module().sole()
    told = explained(five, workflow, step(five, "objects"))
    assert "not detr-resnet-101 on a100/cpu: it would break `latency <= 30 s` (" in told
    told = explained(five, workflow, step(five, "speech"))
    row = next(line for line in told.splitlines() if "whisper-base " in line and "x1" in line)
    assert row.split()[-1] == "+1"


def test_the_best_latency_is_one_that_the_node_can_reach() -> None:
    """The language model on eight GPUs would be faster, with none left for the detector."""
    best = plan("latency <= best")
    assert best.predicted.latency_s["p50"] == pytest.approx(23.6, rel=0.02)


def test_a_detector_reads_its_images_on_any_device() -> None:
    """152 G multiply-adds an image (Carion et al. 2020): seconds follow from the device's peak."""
    context = world(NODE, DETECTOR)
    executor = context.library.get("detr-resnet-101")
    assert executor is not None
    call = "workflow w(frames: [Image]) -> [Text] { return detect_objects(frames) }"
    (task,) = [t for t in flow(call).tasks if t.name == "detect_objects"]
    frames = {"frames": Size(length=10.0, item=Size(images=1.0))}
    work = work_of(replace(task, binding=("frames",)), Configuration(executor), frames)
    assert work.prompt_tokens[0] == pytest.approx(25_300)
    (pool,) = context.cluster.pools
    took = context.costs.estimate(executor, {}, Slot(pool, "cpu"), work, 1).latency.p50
    reached = pool.cpu.peak_flops * executor.cores / pool.cpu.cores * 0.5
    assert math.isclose(took, 10 * 2 * 152e9 / reached, rel_tol=0.02)
    quick = context.costs.estimate(executor, {}, Slot(pool, "gpu", 1), work, 1)
    assert quick.latency.p50 < took / 50
