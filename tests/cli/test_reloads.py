"""Models that take turns on one GPU: the plan pays for their starts within the run, and says so."""

from pathlib import Path

import pytest

from murakkab.cli.reloads import paid, reloads
from murakkab.compiler.driver import Request, compile_workflow
from murakkab.targets.plan import Plan, plan_from_json

from .conftest import Mkb

TURNS = """
import "std/code"
import "std/text"

workflow turns(problem: Text) -> Text
    minimize latency
{
    code = write_code(problem, "") with { model: "Qwen/Qwen3-14B" }
    said = summarize(code) with { model: "meta-llama/Llama-3.1-8B-Instruct" }
    return said
}
"""
CLUSTER = """
name = "small"

[[pool]]
name = "a100"
nodes = 1
gpu = {{ type = "A100-SXM4-80GB", count = {gpus} }}
cpu = {{ type = "EPYC-7V12", cores = 12 }}
memory = "{memory}"
"""
AMPLE, SCARCE = "200 GB", "20 GB"  # of host memory: for weights that sleep, or not


def plan(
    folder: Path, gpus: int, memory: str = AMPLE, source: str = TURNS, *profiles: Path
) -> Plan:
    cluster = folder / "cluster.toml"
    cluster.write_text(CLUSTER.format(gpus=gpus, memory=memory))
    request = Request(source=source, target="sim", cluster=cluster, profiles=profiles)
    return compile_workflow(request).plan


def test_two_models_on_one_gpu_pay_for_a_start_within_the_run(tmp_path: Path) -> None:
    one = plan(tmp_path, 1, SCARCE)
    first, second = sorted(one.engines, key=lambda engine: engine.start_s)
    assert first.prestarted and not second.prestarted
    assert second.start_s >= first.end_s
    worked = sum(step.end_s - step.start_s for step in one.steps)
    assert one.predicted.latency_s["p50"] == pytest.approx(worked + second.startup_s)
    assert paid(one) == second.startup_s
    assert one.predicted.energy_j == pytest.approx(sum(step.energy_j for step in one.steps))
    told = reloads(one)
    assert f"`{second.name}` starts" in told
    assert f"in the place of `{first.name}`" in told
    assert "1 engine started within the run" in told


def test_where_host_memory_holds_the_weights_the_second_sleeps_until_its_turn(
    tmp_path: Path,
) -> None:
    one = plan(tmp_path, 1)
    first, second = sorted(one.engines, key=lambda engine: engine.start_s)
    assert first.prestarted and not second.prestarted
    assert 0.0 < second.wake_s < second.startup_s / 4
    assert second.start_s >= first.end_s
    worked = sum(step.end_s - step.start_s for step in one.steps)
    assert one.predicted.latency_s["p50"] == pytest.approx(worked + second.wake_s)
    assert paid(one) == second.wake_s
    assert one.predicted.startup_s == pytest.approx(first.startup_s + second.startup_s)
    assert f"`{second.name}` wakes" in reloads(one)
    assert "1 engine woken within the run" in reloads(one)
    assert plan_from_json(one.to_json()) == one


def test_measured_times_to_sleep_and_wake_are_what_a_reload_takes(tmp_path: Path) -> None:
    rows = tmp_path / "starts.csv"
    head = "model,precision,device,tp,start_s,sleep_s,wake_s,engine,engine_version,source"
    models = ("Qwen/Qwen3-14B", "meta-llama/Llama-3.1-8B-Instruct")
    lines = [f"{model},bf16,A100-SXM4-80GB,1,60,0.5,1.25,vllm,0.11.1,a test" for model in models]
    rows.write_text("\n".join([head, *lines]) + "\n")
    one = plan(tmp_path, 1, AMPLE, TURNS, rows)
    second = max(one.engines, key=lambda engine: engine.start_s)
    assert second.wake_s == pytest.approx(1.75)
    assert second.startup_s == 60.0


BACK = TURNS.replace(
    "return said", 'return write_code(problem, said) with { model: "Qwen/Qwen3-14B" }'
)


@pytest.mark.parametrize(("memory", "woken"), [("200 GB", 2), ("60 GB", 1), ("20 GB", 0)])
def test_as_many_sleep_as_host_memory_holds(tmp_path: Path, memory: str, woken: int) -> None:
    """A model that comes back is a second server: both cannot sleep in 60 GB."""
    back = plan(tmp_path, 1, memory, BACK)
    late = [engine for engine in back.engines if not engine.prestarted]
    assert len(late) == 2
    assert sum(engine.wake_s > 0.0 for engine in late) == woken
    worked = sum(step.end_s - step.start_s for step in back.steps)
    assert back.predicted.latency_s["p50"] == pytest.approx(worked + paid(back))


def test_with_a_gpu_for_each_nothing_is_started_within_the_run(tmp_path: Path) -> None:
    two = plan(tmp_path, 2)
    assert paid(two) == 0.0
    assert reloads(two) == ""
    assert two.predicted.latency_s["p50"] < plan(tmp_path, 1, SCARCE).predicted.latency_s["p50"] / 2


def test_compile_and_explain_say_so(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "turns.mkb").write_text(TURNS)
    (tmp_path / "cluster.toml").write_text(CLUSTER.format(gpus=1, memory=SCARCE))
    flags = ("compile", "turns.mkb", "--cluster", "cluster.toml")
    assert "1 engine started within the run" in mkb(*flags).stdout
    mkb(*flags, "-o", "plan.json")
    said = mkb("explain", "plan.json", "said").stdout
    assert "into the run, " in said and "before its first call, in the place of `qwen3-14b" in said
    assert "into the run" not in mkb("explain", "plan.json", "code").stdout
    (tmp_path / "cluster.toml").write_text(CLUSTER.format(gpus=1, memory=AMPLE))
    mkb(*flags, "-o", "plan.json")
    said = mkb("explain", "plan.json", "said").stdout
    assert "  wakes     " in said and "(a start would take " in said
