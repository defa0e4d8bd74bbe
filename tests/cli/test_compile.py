"""`mkb compile` and `mkb opt`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.targets.plan import plan_from_json

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]

CLUSTER = """name = "one-node"

[[pool]]
name = "a100"
nodes = 1
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""


def test_the_summary_stands_beside_the_reference(mkb: Mkb) -> None:
    out = mkb("compile", "ask.mkb").stdout
    assert out.startswith("workflow `ask` for target `local` on cluster ")
    header = next(line for line in out.split("\n") if line.split()[:1] == ["step"])
    assert header.split()[:3] == ["step", "executor", "-O0"]
    assert "bm25-answer" in out and "latency p95" in out and "placement: " in out


def test_the_reference_stands_alone(mkb: Mkb) -> None:
    out = mkb("compile", "ask.mkb", "-O0").stdout
    header = next(line for line in out.split("\n") if line.split()[:1] == ["step"])
    assert "-O0" not in header and "placement: fixed" in out


@pytest.mark.parametrize("emit", ["flow", "logical", "fused", "placed"])
def test_every_stage_prints_ir_that_reads_back(emit: str, mkb: Mkb) -> None:
    text = mkb("compile", "ask.mkb", "--emit", emit).stdout
    level = emit if emit in ("flow", "placed") else "logical"
    assert text.startswith(f"module {level}")
    assert print_module(read_module(text)) == text


def test_the_tree_is_indented_with_places(mkb: Mkb) -> None:
    lines = mkb("compile", "ask.mkb", "--emit", "ast").stdout.split("\n")
    assert lines[0].startswith("File")
    assert any("Workflow" in line and " 3:1" in line for line in lines)


def test_a_plan_is_the_same_wherever_it_goes(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    printed = mkb("compile", "ask.mkb", "--emit", "plan").stdout
    assert mkb("compile", "ask.mkb", "-o", "-").stdout == printed
    assert mkb("compile", "ask.mkb", "-o", "p.json").output == ""
    assert (tmp_path / "p.json").read_text() == printed
    assert mkb_json("compile", "ask.mkb")["plan"] == json.loads(printed)
    assert mkb_json("compile", "ask.mkb", "-o", "q.json")["written"] == "q.json"
    assert plan_from_json(printed).to_json() == printed


def test_a_described_cluster_is_simulated(mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CLUSTER)
    plan = mkb_json("compile", "ask.mkb", "--cluster", "c.toml")["plan"]
    assert (plan["target"], plan["cluster"]) == ("sim", "one-node")


def test_flags_reach_the_program(mkb_json: MkbJson) -> None:
    text = mkb_json(
        *("compile", "ask.mkb", "--emit", "flow", "--minimize", "latency then cost"),
        *("--require", "p95 latency <= 9 s", "--require", "accuracy >= 0.5"),
    )["ir"]
    assert "objectives [latency, cost]" in text
    assert "require latency.p95 <= 9.0" in text and "require accuracy >= 0.5" in text


def test_what_is_done_on_failure_is_in_the_plan(mkb_json: MkbJson) -> None:
    usual = mkb_json("compile", "ask.mkb")["plan"]["failure"]
    assert (usual["attempts"], usual["hedge_after"]) == (3, 0.95)
    flags = ("attempts=5", "retry=timeout, status", "hedge_after=off", "wait_s=0.25")
    words = [word for flag in flags for word in ("--on-failure", flag)]
    changed = {"attempts": 5, "retry": ["timeout", "status"], "hedge_after": None, "wait_s": 0.25}
    assert mkb_json("compile", "ask.mkb", *words)["plan"]["failure"] == usual | changed
    none = mkb_json("compile", "ask.mkb", "--on-failure", "retry=off")["plan"]["failure"]
    assert none == usual | {"retry": []}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("attempts", "is not of the form NAME=VALUE"),
        ("attempt=3", "a failure policy has no `attempt`"),
        ("attempts=-1", "attempts: -1 is less than the minimum of 1"),
        ("attempts=NaN", "attempts: 'NaN' is not of type 'integer'"),
        ("retry=sometimes", "'sometimes' is not one of"),
        ("restarts=", "restarts: '' is not of type 'integer'"),
    ],
)
def test_a_policy_that_cannot_be_is_a_usage_error(mkb_json: MkbJson, given: str, told: str) -> None:
    out = mkb_json("compile", "ask.mkb", "--on-failure", given, exit_code=2)
    assert told in out["diagnostics"][0]["message"]


def test_what_cannot_be_met_is_told(mkb_json: MkbJson) -> None:
    out = mkb_json("compile", "ask.mkb", "--require", "p99 latency <= 0.001 ms", exit_code=1)
    assert all(d["severity"] == "error" for d in out["diagnostics"])
    assert "latency" in out["diagnostics"][0]["message"]


def test_dumps_and_times_go_to_stderr(mkb: Mkb) -> None:
    out = mkb("compile", "ask.mkb", "--emit", "fused", "--print-ir-after", "all", "--time-passes")
    assert out.stdout.startswith("module logical")
    assert "// ----- IR after bind -----\nmodule logical" in out.stderr
    assert out.stderr.rstrip().endswith("total")
    one = mkb("compile", "ask.mkb", "--emit", "fused", "--print-ir-after", "bind").stderr
    assert one.count("// ----- IR after") == 1


def test_the_identity_pipeline(mkb: Mkb, tmp_path: Path) -> None:
    text = mkb("compile", "ask.mkb", "--emit", "flow").stdout
    (tmp_path / "a.mkir").write_text("// a comment\n" + text)
    assert mkb("opt", "a.mkir", "--passes", "").stdout == text
    assert mkb("opt", "a.mkir").stdout == text
    assert mkb("opt", "-", input=text).stdout == text


def test_a_pipeline_over_ir(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    mkb("compile", "ask.mkb", "--emit", "flow", "-o", "a.mkir")
    mkb("opt", "a.mkir", "--passes", "bind,canonicalize", "-o", "b.mkir")
    assert (tmp_path / "b.mkir").read_text() == mkb_json(
        "opt", "a.mkir", "--passes", "bind,canonicalize"
    )["ir"]
    assert (tmp_path / "b.mkir").read_text().startswith("module logical")


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("module flow\nworkflow @w() -> Int { return(%a) }", "invalid-ir"),
        ("module flow\nworkflow @w(%a: Int) -> Text { return(%a) }", None),
        ("", "invalid-ir"),
        ("\0" * 40, "invalid-ir"),
        ("(" * 10_000, "invalid-ir"),
    ],
)
def test_ir_that_is_wrong(text: str, id: str | None, mkb_json: MkbJson, tmp_path: Path) -> None:
    (tmp_path / "a.mkir").write_text(text)
    found = mkb_json("opt", "a.mkir", exit_code=1)["diagnostics"]
    assert found and (id is None or found[0]["id"] == id)
    assert "bug" not in found[0]["message"]


def test_warnings_are_told_beside_the_plan(mkb: Mkb, mkb_json: MkbJson, tmp_path: Path) -> None:
    text = (tmp_path / "ask.mkb").read_text().replace("{\n", "{\n    idle = 1 + 1\n", 1)
    (tmp_path / "ask.mkb").write_text(text)
    out = mkb("compile", "ask.mkb", "--emit", "plan")
    assert "warning[unused-binding]" in out.stderr and out.stdout.startswith("{")
    assert mkb_json("compile", "ask.mkb")["diagnostics"][0]["severity"] == "warning"
