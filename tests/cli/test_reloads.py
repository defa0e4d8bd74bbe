"""Models that take turns on one GPU: the plan pays for their starts within the run, and says so."""

from pathlib import Path

import pytest

from murakkab.cli.reloads import paid, reloads
from murakkab.compiler.driver import Request, compile_workflow
from murakkab.targets.plan import Plan

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
memory = "200 GB"
"""


def plan(folder: Path, gpus: int) -> Plan:
    cluster = folder / "cluster.toml"
    cluster.write_text(CLUSTER.format(gpus=gpus))
    return compile_workflow(Request(source=TURNS, target="sim", cluster=cluster)).plan


def test_two_models_on_one_gpu_pay_for_a_start_within_the_run(tmp_path: Path) -> None:
    one = plan(tmp_path, 1)
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


def test_with_a_gpu_for_each_nothing_is_started_within_the_run(tmp_path: Path) -> None:
    two = plan(tmp_path, 2)
    assert paid(two) == 0.0
    assert reloads(two) == ""
    assert two.predicted.latency_s["p50"] < plan(tmp_path, 1).predicted.latency_s["p50"] / 2


def test_compile_and_explain_say_so(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "turns.mkb").write_text(TURNS)
    (tmp_path / "cluster.toml").write_text(CLUSTER.format(gpus=1))
    flags = ("compile", "turns.mkb", "--cluster", "cluster.toml")
    assert "1 engine started within the run" in mkb(*flags).stdout
    mkb(*flags, "-o", "plan.json")
    said = mkb("explain", "plan.json", "said").stdout
    assert "into the run, " in said and "before its first call, in the place of `qwen3-14b" in said
    assert "into the run" not in mkb("explain", "plan.json", "code").stdout
