"""`mkb run` and `mkb show`, with the executors that are really there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]

DOCUMENTS = [
    "The night train to Prague leaves at 22:40.",
    "The kiosk sells coffee. It closes at 21:00.",
    "The station opened in 1884.",
]
QUERY = "When does the night train to Prague leave?"
ARGUMENTS = ("--input", f"query={QUERY}", "--input", f"documents={json.dumps(DOCUMENTS)}")


def test_a_workflow_runs_and_its_record_is_shown(
    mkb: Mkb, mkb_json: MkbJson, tmp_path: Path
) -> None:
    out = mkb("run", "ask.mkb", *ARGUMENTS)
    assert "22:40" in out.stdout and "1884" not in out.stdout
    assert "predicted" in out.stderr and "`mkb show .murakkab/runs/" in out.stderr
    (folder,) = (tmp_path / ".murakkab" / "runs").iterdir()
    shown = mkb("show", str(folder)).stdout
    assert "workflow `ask` for target `local`: done" in shown
    assert f"input query: {QUERY}" in shown and "result: " in shown
    assert "Prague" in mkb("show", str(folder), "found").stdout
    assert "found\n" in mkb("show", str(folder / "run.json"), "found").stdout.replace("  at", "\n")
    step = mkb_json("show", str(folder), "found")
    assert step["step"]["calls"] == 1
    assert any("Prague" in passage for passage in step["calls"][0]["result"])
    (found,) = mkb_json("show", str(folder), "fuond", exit_code=2)["diagnostics"]
    assert found["help"] == "did you mean `found`?"
    (found,) = mkb_json("show", str(folder), "found[7]", exit_code=2)["diagnostics"]
    assert "`found[7]`" in found["message"]


def test_a_plan_runs_with_a_file_of_inputs(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    mkb("compile", "ask.mkb", "-o", "p.json")
    inputs = {"query": QUERY, "documents": DOCUMENTS}
    (tmp_path / "in.json").write_text(json.dumps(inputs))
    out = mkb_json("run", "p.json", "--inputs", "in.json", "--record", "r/run.json")
    assert "22:40" in out["result"]
    assert out["run"]["schema"] == "murakkab/run/1" and out["run"]["status"] == "done"
    assert json.loads((tmp_path / "r" / "run.json").read_text()) == out["run"]


def test_a_dry_run_says_what_would_be_called(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    out = mkb("run", "ask.mkb", "--dry-run").stdout
    assert "bm25-answer" in out and "nothing was called" in out
    document = mkb_json("run", "ask.mkb", "--dry-run")
    assert [call["step"] for call in document["calls"]] == ["found", "answer"]
    assert document["predicted"]["latency_s"]["p50"] > 0.0
    assert not (tmp_path / ".murakkab").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "ids"),
    [
        ((), 3, ["missing-input", "missing-input"]),
        (("--input", "query=x"), 3, ["missing-input"]),
        (("--input", "query=x", "--input", "documents=7"), 3, ["wrong-input"]),
        (("--input", "query=x", "--input", "documents=[1]"), 3, ["wrong-input"]),
        ((*ARGUMENTS, "--input", "qery=x"), 3, ["unknown-input"]),
        ((*ARGUMENTS, "--input", "query"), 2, ["usage"]),
        ((*ARGUMENTS, "--input", "query=x"), 2, ["usage"]),
        (("--inputs", "gone.json"), 2, ["no-such-file"]),
        (("--inputs", "ask.mkb"), 2, ["usage"]),
        (("--inputs", "-"), 2, ["usage"]),
    ],
)
def test_inputs_that_do_not_fit(
    arguments: tuple[str, ...], code: int, ids: list[str], mkb_json: MkbJson, tmp_path: Path
) -> None:
    out = mkb_json("run", "ask.mkb", *arguments, exit_code=code)
    assert [d["id"] for d in out["diagnostics"]] == ids
    assert not (tmp_path / ".murakkab").exists()


def test_a_missing_input_is_named_with_its_type(mkb: Mkb) -> None:
    out = mkb("run", "ask.mkb", "--input", "query=x", exit_code=3)
    assert "input `documents: [Text]` is missing" in out.stderr


def test_a_step_that_fails_ends_the_run(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "v.mkb").write_text(
        'import "std/media"\n'
        "workflow v(video: Video) -> Int {\n    scenes = split_scenes(video)\n"
        "    return len(scenes)\n}\n"
    )
    (tmp_path / "not.mp4").write_text("this is no video")
    arguments = ("run", "v.mkb", "--input", "video=not.mp4", "--record", "run.json")
    out = mkb_json(*arguments, exit_code=3)
    (found,) = out["diagnostics"]
    assert found["id"] == "run-failed" and "`scenes`" in found["message"]
    assert out["record"] == "run.json" and out["failures"][0]["step"] == "scenes"
    assert "failed" in mkb("show", "run.json").stdout


def test_a_simulation_needs_no_inputs(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'name = "c"\n[[pool]]\nname = "a"\nnodes = 1\n'
        'gpu = { type = "A100-SXM4-80GB", count = 8 }\ncpu = { cores = 96 }\nmemory = "900 GB"\n'
    )
    out = mkb("run", "ask.mkb", "--cluster", "c.toml")
    assert "simulated in virtual time" in out.stderr
    run = mkb_json("run", "ask.mkb", "--cluster", "c.toml")["run"]
    assert (run["target"], run["status"]) == ("sim", "done")


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "murakkab/run/1"}', "[" * 100_000])
def test_a_record_that_is_none_is_refused(text: str, mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    (found,) = mkb_json("show", "run.json", exit_code=2)["diagnostics"]
    assert found["id"] == "invalid-record"


def test_a_record_that_is_not_there(mkb_json: MkbJson) -> None:
    assert mkb_json("show", "gone.json", exit_code=2)["diagnostics"]
