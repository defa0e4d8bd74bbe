"""`mkb evaluate` of configurations whose models are really served, judged by one that is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from murakkab.targets.workflow_profiles import load_workflow_profiles

from .models import write_library
from .test_launched import server_group, until
from .workflows import ENVIRONMENT

ONE = """
task answer(question: Text) -> Text "Answer a question." prompt "{question}"

workflow one(question: Text) -> Text { return answer(question) }
"""


def command(folder: Path, library: Path, *flags: str) -> list[str]:
    """Write a workflow and a dataset into a folder; return what evaluates it there."""
    (folder / "w.mkb").write_text(ONE)
    items = [{"question": f"Question {n}?", "expected": "a"} for n in range(6)]
    (folder / "d.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    mkb = [sys.executable, "-m", "murakkab", "evaluate", "w.mkb", "--dataset", "d.jsonl", "--json"]
    return [*mkb, "--target", "vllm", "--library", str(library), *flags]


def evaluate(folder: Path, library: Path, *flags: str) -> Any:
    done = subprocess.run(
        command(folder, library, *flags),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=400.0,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_servers_are_started_once_a_configuration_and_ended(
    models_apart: Path, tmp_path: Path
) -> None:
    library = write_library(models_apart / "evaluated.toml", max_tokens=8)
    found = evaluate(tmp_path, library, "--metric", "contains")
    entries = {entry["configuration"]: entry for entry in found["configurations"]}
    assert set(entries) == {"answer: large", "answer: small"}
    assert all(entry["n"] == 6 and entry["failed"] == 0 for entry in entries.values())
    assert all(entry["tokens"]["tokens_output_p90"] == 8 for entry in entries.values())
    assert all(entry["tokens"]["tokens_prompt_p50"] > 10 for entry in entries.values())
    logs = sorted(path.name for path in (tmp_path / ".murakkab/engines/logs").rglob("*.log"))
    assert logs == ["large-0.log", "small-0.log"]
    assert [server_group(models_apart / name) for name in ("large", "small")] == [None, None]
    assert list((tmp_path / ".murakkab/engines").glob("*.json")) == []
    rows = load_workflow_profiles([tmp_path / "w.profile.csv"]).of("one")
    assert sorted(row.accuracy for row in rows) == sorted(e["accuracy"] for e in entries.values())


def test_ctrl_c_while_a_server_starts_leaves_nothing(models_apart: Path, tmp_path: Path) -> None:
    library = write_library(models_apart / "stopped.toml", ["large"])
    run = subprocess.Popen(
        command(tmp_path, library, "--metric", "contains"),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: server_group(models_apart / "large") is not None, run)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60.0)
    assert run.returncode == 130
    assert [found["id"] for found in json.loads(out)["diagnostics"]] == ["interrupted"]
    assert until(lambda: server_group(models_apart / "large") is None)
    assert list((tmp_path / ".murakkab/engines").glob("*.json")) == []


def test_a_served_model_judges(models: Path, server_small: str, tmp_path: Path) -> None:
    """Its weights are random, so nobody knows what it says, but it is yes or no."""
    library = write_library(models / "judged.toml", ["small"])
    endpoint = ("--endpoint", f"small={server_small}/v1")
    found = evaluate(tmp_path, library, "--metric", "judge", "--judge", "small", *endpoint)
    (entry,) = found["configurations"]
    assert entry["n"] == 6 and 0.0 <= entry["accuracy"] <= 1.0
    scored = (tmp_path / "w.profile.csv.progress.jsonl").read_text().splitlines()[1:]
    assert {json.loads(line)["score"] for line in scored} <= {0.0, 1.0}
