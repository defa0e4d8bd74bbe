"""A command line to try, and a small plan with every kind of row that the commands show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from murakkab.targets.plan import (
    Alternative,
    EnginePlan,
    Place,
    Plan,
    Prediction,
    Proof,
    Solver,
    StepPlan,
)

IR = """module placed

task @answer(%query: Text, %notes: [{speech: Text?, text: Text}]) -> Text {interface = "generate"}

task @read_text(%frames: [Image]) -> Text {interface = "read_text"}

task @sample_frames(%scene: {at: Float}) -> [Image] {interface = "sample_frames"}

task @split_scenes(%video: Video) -> [{at: Float}] {interface = "split_scenes"}

task @transcribe(%scene: {at: Float}) -> Text {interface = "transcribe"}

engine @cpu_0 {executor = "scenes-pyscenedetect"}

engine @gpu_0 {executor = "qwen3-vl-8b"}

workflow @video_qa(%query: Text, %video: Video) -> Text
{
  %scenes = invoke @split_scenes(%video) {engine = @cpu_0, executor = @cuts} : [{at: Float}]
  %notes = map(%scenes) { ^(%scene: {at: Float})
    %frames = invoke @sample_frames(%scene) {engine = @cpu_0, executor = @f} : [Image]
    %speech = invoke @transcribe(%scene) {optional, skip} : Text?
    %text = invoke @read_text(%frames) {engine = @gpu_0, executor = @vl} : Text
    %note = record(%speech, %text) {fields = ["speech", "text"]} : {speech: Text?, text: Text}
    yield(%note)
  } : [{speech: Text?, text: Text}]
  %count = len(%notes) : Int
  %zero = const() {value = 0} : Int
  %some = gt(%count, %zero) : Bool
  %reply = if(%some) {
    %answered = invoke @answer(%query, %notes) {engine = @gpu_0, executor = @vl} : Text
    yield(%answered)
  } {
    %nothing = const() {value = "nothing to see"} : Text
    yield(%nothing)
  } : Text
  return(%reply)
}
"""


def engine(name: str, executor: str, slot: str, gpus: int, concurrency: int = 1) -> EnginePlan:
    place = Place(slot.split("/")[0], 0, tuple(range(gpus)))
    device = "gpu" if gpus else "cpu"
    return EnginePlan(
        name=name,
        executor=executor,
        executor_digest="0" * 64,
        runner="vllm" if gpus else "python",
        model="Qwen/Qwen3-VL-8B-Instruct" if gpus else None,
        slot=slot,
        device=device,
        tp=max(gpus, 1),
        replicas=1,
        concurrency=concurrency,
        places=(place,),
        start_s=0.0,
        end_s=9.0,
        startup_s=0.5,
    )


def step(
    name: str,
    task: str,
    executor: str | None,
    engine: str | None,
    calls: float = 1.0,
    alternatives: tuple[Alternative, ...] = (),
) -> StepPlan:
    return StepPlan(
        step=name,
        task=task,
        executor=executor,
        knobs={"frames": 5} if name == "frames" else {},
        engine=engine,
        slot="a100/gpu x1" if engine == "gpu_0" else "a100/cpu",
        calls=calls,
        call_s=dict.fromkeys(("p50", "p90", "p95", "p99"), 0.25),
        start_s=0.0,
        end_s=1.0,
        energy_j=120.0 * calls,
        cost_usd=0.00012 * calls,
        quality=0.9,
        items=8.0 if name == "scenes" else None,
        source="shipped",
        error_band=0.2,
        alternatives=alternatives,
    )


def prediction(scale: float, breaks: tuple[str, ...] = ()) -> Prediction:
    latency = {"p50": 8.0, "p90": 10.0, "p95": 11.0, "p99": 13.0}
    return Prediction(
        latency_s={key: value * scale for key, value in latency.items()},
        energy_j=2000.0 * scale,
        cost_usd=0.004 * scale,
        accuracy=0.64,
        gpus=1,
        startup_s=0.5,
        error_band=0.2,
        breaks=breaks,
    )


@pytest.fixture
def plan() -> Plan:
    """The plan written by hand: for what renders plans, which are not all as tidy as `compiled`."""
    others = (
        Alternative("whisper-large-v3", "a100/gpu x1", 9.5, 2340.0, 0.0049, 0.66, gpus=2),
        Alternative("whisper-huge", "", why_not="it needs a GPU of 160 GB"),
    )
    return Plan(
        schema="murakkab/plan/1",
        kind="job",
        workflow="video_qa",
        target="sim",
        cluster="two-a100-nodes",
        passes="bind,canonicalize,substitute,place",
        ir=IR,
        engines=(
            engine("cpu_0", "scenes-pyscenedetect", "a100/cpu", 0, 4),
            engine("gpu_0", "qwen3-vl-8b", "a100/gpu x1", 1, 16),
        ),
        steps=(
            step("scenes", "split_scenes", "scenes-pyscenedetect", "cpu_0"),
            step("frames", "sample_frames", "frames-opencv", "cpu_0", 8.0),
            step("speech", "transcribe", None, None, 8.0, others),
            step("text", "read_text", "qwen3-vl-8b", "gpu_0", 8.0),
            step("answered", "answer", "qwen3-vl-8b", "gpu_0"),
        ),
        predicted=prediction(1.0),
        baseline=prediction(2.5, ("p95 latency <= 15 s",)),
        solver=Solver(
            "optimal", (Proof("energy", 2000.0, 2000.0, 0.0), Proof("cost", 0.004, 0.0038, 0.05))
        ),
        digests={"source": "0" * 64},
        notes=("`answer` is bound to `generate` by its prompt",),
    )


WORKFLOW = """import "std/text"

workflow ask(query: Text, documents: [Text]) -> Text {
    found = search(query, documents)
    return answer(query, found)
}
"""

Mkb = Callable[..., Result]


@pytest.fixture
def mkb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mkb:
    """Run a command line in an empty folder that holds `ask.mkb`."""
    from murakkab.cli.main import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "ask.mkb").write_text(WORKFLOW)

    def invoke(*arguments: str, input: str | None = None, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(cli, list(arguments), input=input)
        assert result.exit_code == exit_code, result.output
        return result

    return invoke


@pytest.fixture
def mkb_json(mkb: Mkb) -> Callable[..., dict[str, Any]]:
    """Run a command line with `--json`: its one document."""

    def invoke(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
        result = mkb(*arguments, "--json", exit_code=exit_code)
        assert result.stderr == ""
        document = json.loads(result.stdout)
        assert isinstance(document, dict) and "diagnostics" in document
        return document

    return invoke


@pytest.fixture(scope="session")
def compiled() -> Plan:
    """A plan of `ask.mkb` for this machine, as the compiler makes it."""
    from murakkab.compiler.driver import Request, compile_workflow

    return compile_workflow(Request(source=WORKFLOW)).plan


@pytest.fixture
def plan_file(compiled: Plan, tmp_path: Path) -> str:
    path = tmp_path / "plan.json"
    path.write_text(compiled.to_json())
    return str(path)
