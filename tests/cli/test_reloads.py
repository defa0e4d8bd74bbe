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
# too large to stand beside the other on a GPU of 80 GB
LARGE = TURNS.replace("Qwen/Qwen3-14B", "Qwen/Qwen3-30B-A3B-Instruct-2507")
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
    folder: Path, gpus: int, memory: str = AMPLE, source: str = LARGE, *profiles: Path
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
    models = ("Qwen/Qwen3-30B-A3B-Instruct-2507", "meta-llama/Llama-3.1-8B-Instruct")
    lines = [f"{model},bf16,A100-SXM4-80GB,1,60,0.5,1.25,vllm,0.11.1,a test" for model in models]
    rows.write_text("\n".join([head, *lines]) + "\n")
    one = plan(tmp_path, 1, AMPLE, LARGE, rows)
    second = max(one.engines, key=lambda engine: engine.start_s)
    assert second.wake_s == pytest.approx(1.75)
    assert second.startup_s == 60.0


BACK = LARGE.replace(
    "return said",
    'return write_code(problem, said) with { model: "Qwen/Qwen3-30B-A3B-Instruct-2507" }',
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


def test_where_gpu_memory_holds_both_they_stand_beside_each_other(tmp_path: Path) -> None:
    """Nothing is loaded within the run; one works after the other, and the GPU is paid for once."""
    small = plan(tmp_path, 1, AMPLE, TURNS)
    assert small.predicted.gpus == 1
    assert all(engine.prestarted and engine.start_s == 0.0 for engine in small.engines)
    shares = [engine.memory_share for engine in small.engines]
    weights = (14.8, 8.03)  # billions of parameters, of two bytes
    assert all(share > 2e9 * each / 80e9 for share, each in zip(shares, weights, strict=True))
    assert sum(shares) <= 0.9 + 0.01 * len(shares)  # each rounded up
    one, other = sorted(small.steps, key=lambda step: step.start_s)
    assert one.end_s <= other.start_s
    worked = sum(step.end_s - step.start_s for step in small.steps)
    assert small.predicted.latency_s["p50"] == pytest.approx(worked)
    assert paid(small) == 0.0
    assert small.predicted.energy_j == pytest.approx(sum(step.energy_j for step in small.steps))
    both = plan(tmp_path, 2, AMPLE, TURNS)
    assert small.predicted.cost_usd <= both.predicted.cost_usd * (1 + 1e-6)
    told = reloads(small)
    assert all(f"`{engine.name}` stands beside" in told for engine in small.engines)
    assert "in the memory of the same GPUs" in told


def test_the_memory_of_a_gpu_holds_keys_and_values_of_all_that_stand_there(tmp_path: Path) -> None:
    """Keys and values of many long answers at once take more; what is planned for fits."""
    batch = """
    import "std/code"
    import "std/text"

    workflow w(problems: [Text]) -> Text
        minimize gpus then latency
        expect len(problems) = {problems}
        expect tokens(write_code) = 4000
    {{
        programs = for problem in problems {{
            yield write_code(problem, "") with {{ model: "Qwen/Qwen3-14B" }}
        }}
        said = summarize(join(programs, "\\n")) with {{ model: "meta-llama/Llama-3.1-8B-Instruct" }}
        return said
    }}
    """
    few = plan(tmp_path, 1, AMPLE, batch.format(problems=1))
    many = plan(tmp_path, 1, AMPLE, batch.format(problems=8))
    assert few.predicted.gpus == many.predicted.gpus == 1
    for found in (few, many):
        at_once = [engine for engine in found.engines if engine.start_s == 0.0]
        assert sum(engine.memory_share for engine in at_once) <= 0.9 + 0.01 * len(at_once)
    assert max(e.memory_share for e in many.engines) > max(e.memory_share for e in few.engines)


def test_with_a_gpu_for_each_nothing_is_started_within_the_run(tmp_path: Path) -> None:
    two = plan(tmp_path, 2)
    assert paid(two) == 0.0
    assert reloads(two) == ""
    assert two.predicted.latency_s["p50"] < plan(tmp_path, 1, SCARCE).predicted.latency_s["p50"] / 2


def test_compile_and_explain_say_so(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "turns.mkb").write_text(LARGE)
    (tmp_path / "cluster.toml").write_text(CLUSTER.format(gpus=1, memory=SCARCE))
    flags = ("compile", "turns.mkb", "--cluster", "cluster.toml")
    assert "1 engine started within the run" in mkb(*flags).stdout
    mkb(*flags, "-o", "plan.json")
    said = mkb("explain", "plan.json", "said").stdout
    assert "into the run, " in said and "before its first call, in the place of `qwen3-30b" in said
    assert "into the run" not in mkb("explain", "plan.json", "code").stdout
    (tmp_path / "cluster.toml").write_text(CLUSTER.format(gpus=1, memory=AMPLE))
    mkb(*flags, "-o", "plan.json")
    said = mkb("explain", "plan.json", "said").stdout
    assert "  wakes     " in said and "(a start would take " in said
