"""The demonstration, end to end: real video, real tools, real processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "examples/video_qa/video_qa.mkb"
VIDEO = ROOT / "examples/video_qa/station.mp4"


def mkb(folder: Path, *arguments: str) -> Any:
    """Run the command line in a folder of its own; return its JSON document."""
    command = [sys.executable, "-m", "murakkab", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    mkb(folder, "compile", str(WORKFLOW), "-o", str(folder / "plan.json"))
    return folder / "plan.json"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which platform does the train to Lyon leave from?", "Platform 7"),
        ("When does the train to Geneva depart?", "15:10"),
    ],
)
def test_what_is_written_on_screen_is_found(plan: Path, question: str, answer: str) -> None:
    inputs = ("--input", f"query={question}", "--input", f"video={VIDEO}")
    document = mkb(plan.parent, "run", str(plan), *inputs)
    assert answer in document["result"]
    steps = {step["step"]: step for step in document["run"]["steps"]}
    assert steps["scenes"]["items"] == 5
    assert steps["seen"]["calls"] == 5
    assert steps["speech"]["calls"] == 0  # left out: the plan meets its accuracy without it


def test_what_is_only_said_is_found_when_accuracy_is_asked_for(tmp_path: Path) -> None:
    inputs = ("--input", "query=When does the bakery close?", "--input", f"video={VIDEO}")
    document = mkb(tmp_path, "run", str(WORKFLOW), "--require", "accuracy >= 0.99", *inputs)
    assert "nine in the evening" in document["result"]


def test_the_same_file_compiles_for_a_cluster_to_other_executors(tmp_path: Path) -> None:
    cluster = str(ROOT / "examples/clusters/two-a100-nodes.toml")
    document = mkb(tmp_path, "compile", str(WORKFLOW), "--cluster", cluster)
    plan = document["plan"]
    chosen = {step["step"]: step["executor"] for step in plan["steps"]}
    assert chosen["seen"] == "qwen3-vl-30b-read-text"
    assert plan["predicted"]["energy_j"] < plan["baseline"]["energy_j"]
    assert 0 < plan["predicted"]["gpus"] <= 16
