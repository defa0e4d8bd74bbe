"""`mkb inspect`, `explain` and `compare`: what people see of a plan."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click import unstyle as unstyled
from click.testing import Result

from murakkab.cli import figures
from murakkab.cli.explain import explained
from murakkab.cli.graphs import graphviz
from murakkab.cli.inspect import picture
from murakkab.cli.summary import summary
from murakkab.targets.failure_policy import FailurePolicy
from murakkab.targets.plan import Plan

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]


NAMES = ("scenes", "frames", "speech", "text", "answered")


def test_the_drawing_shows_order_and_independence(plan: Plan) -> None:
    text = picture(plan.module(), plan, 100)
    lines = text.split("\n")
    row = {
        name: i for i, line in enumerate(lines) for name in NAMES if f" {name} " in unstyled(line)
    }
    assert row["scenes"] < row["frames"] == row["speech"] < row["text"] < row["answered"]
    assert max(map(len, lines)) <= 100
    plain = unstyled(text)
    assert "═ notes = for scene in scenes ═" in plain
    assert "═ reply = if len(notes) > 0 ═" in plain
    assert 'yield "nothing to see"' in plain
    assert "frames-opencv [frames=5]" in plain and "left out" in plain
    assert "8 calls of 250 ms" in plain


def test_a_narrow_terminal_wraps_rows(plan: Plan) -> None:
    text = unstyled(picture(plan.module(), plan, 60))
    drawing = text[: text.index("predicted")]
    boxes = [line for line in drawing.split("\n") if line[:1] in tuple("╔╭║│╰╚")]
    assert len(boxes) > 20 and max(map(len, boxes)) <= 60
    assert [line for line in boxes if "─ frames ─" in line and "─ speech ─" in line] == []


def test_a_workflow_is_drawn_as_written_and_as_run(mkb: Mkb) -> None:
    out = mkb("inspect", "ask.mkb").stdout
    written, run = out.split("as it will run for target `local`")
    assert "as written:" in written and "search(query, documents)" in written
    assert "sklearn-search" not in written and "sklearn-search" in run


def test_a_plan_keeps_what_was_written(mkb: Mkb) -> None:
    mkb("compile", "ask.mkb", "-o", "p.json")
    assert "as written:" in mkb("inspect", "p.json").stdout


@pytest.mark.parametrize(
    ("kind", "head", "edge"),
    [
        ("dot", "digraph {", "v_found -> v_answer"),
        ("mermaid", "flowchart TB", "v_found --> v_answer"),
    ],
)
def test_graphs_have_an_edge_for_data(
    kind: str, head: str, edge: str, mkb: Mkb, plan_file: str, tmp_path: Path
) -> None:
    text = mkb("inspect", plan_file, "--graph", kind).stdout
    assert text.startswith(head) and edge in text
    mkb("inspect", plan_file, "--graph", kind, "-o", "g")
    assert (tmp_path / "g").read_text() == text


def test_ir_and_document_of_a_plan(
    mkb: Mkb, mkb_json: MkbJson, compiled: Plan, plan_file: str
) -> None:
    assert mkb("inspect", plan_file, "--ir").stdout == compiled.ir
    assert mkb_json("inspect", plan_file)["plan"] == json.loads(compiled.to_json())


def test_graphs_nest_regions_and_go_around_plumbing(plan: Plan) -> None:
    text = graphviz(plan.module().sole(), lambda op: [])
    assert 'subgraph cluster_notes { label = "notes = for scene in scenes"' in text
    edges = [line.strip() for line in text.split("\n") if "->" in line]
    assert "v_scenes -> v_frames" in edges and "v_frames -> v_text" in edges
    assert "v_text -> v_answered" in edges and "v_answered -> v_return" in edges


def test_alternatives_are_told_as_changes(plan: Plan) -> None:
    speech = next(step for step in plan.steps if step.step == "speech")
    out = unstyled(explained(plan, plan.module().sole(), speech))
    assert "left out" in out
    row = next(line for line in out.split("\n") if "whisper-large-v3" in line)
    assert row.split()[-2:] == ["+0.020", "+1"]
    assert "+1.5 s" in row and "+340 J" in row and "+$0.0009" in row
    assert "not whisper-huge: it needs a GPU of 160 GB" in out


def test_the_summary_tells_what_is_unusual_on_failure(plan: Plan) -> None:
    assert "on failure" not in unstyled(summary(plan, plan.module()))
    stated = FailurePolicy(attempts=5, retry=("timeout", "status"), hedge_after=None)
    told = unstyled(summary(replace(plan, failure=stated), plan.module()))
    assert "on failure: retry = timeout, status, attempts = 5, hedge_after = off" in told


def test_the_summary_tells_the_proof_and_what_the_reference_breaks(plan: Plan) -> None:
    out = unstyled(summary(plan, plan.module()))
    assert "energy 2 kJ, proved" in out and "cost $0.004, at best $0.0038, gap 5 %" in out
    assert "note: `answer` is bound to `generate` by its prompt" in out
    assert "-O0 would break `p95 latency <= 15 s`" in out


def test_every_step_is_explained(mkb: Mkb, plan_file: str) -> None:
    out = mkb("explain", plan_file).stdout
    assert "found = search(query, documents)" in out and "answer = answer(query, found)" in out
    assert "runs on   bm25-answer" in out and "placement: " in out
    assert "search(" not in mkb("explain", plan_file, "answer").stdout


def test_an_unknown_step_is_named(mkb_json: MkbJson, plan_file: str) -> None:
    (found,) = mkb_json("explain", plan_file, "fuond", exit_code=2)["diagnostics"]
    assert "`fuond`" in found["message"] and found["help"] == "did you mean `found`?"


def test_two_plans_side_by_side(mkb: Mkb, mkb_json: MkbJson, plan_file: str) -> None:
    mkb("compile", "ask.mkb", "-O0", "-o", "p.json")
    out = mkb("compare", plan_file, "p.json").stdout
    assert out.count("p.json") == 2 and "latency p95" in out and "same" in out
    assert "accuracy is relative" not in out  # one machine, one reference
    same = mkb_json("compare", plan_file, plan_file)
    assert all(step["one"] == step["other"] for step in same["steps"])
    assert same["predicted"]["one"] == same["predicted"]["other"]


def test_accuracies_on_two_machines_are_not_to_be_compared(mkb: Mkb, plan_file: str) -> None:
    cluster = str(Path(__file__).parents[2] / "examples/clusters/two-a100-nodes.toml")
    mkb("compile", "ask.mkb", "--cluster", cluster, "-o", "c.json")
    out = mkb("compare", plan_file, "c.json").stdout
    assert "accuracy is relative to the best each of them could do" in out


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--minimize", "latency"), "`--minimize`"),
        (("-O0", "--require", "gpus <= 1"), "`--require` and `-O0`"),
        (("--cluster", "c.toml", "--target", "sim"), "`--cluster` and `--target`"),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "run"])
def test_a_plan_is_decided_already(
    mkb_json: MkbJson, plan_file: str, command: str, flags: tuple[str, ...], named: str
) -> None:
    (found,) = mkb_json(command, plan_file, *flags, exit_code=2)["diagnostics"]
    assert found["id"] == "usage"
    assert found["message"].startswith(f"{named} cannot change a plan")


def broken(change: Callable[[dict[str, Any]], None]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        broken(lambda d: d.update(schema="murakkab/plan/2")),
        broken(lambda d: d.update(ir="import os")),
        broken(lambda d: d.update(ir=d["ir"].replace("return(%answer)", "return(%found)"))),
        broken(lambda d: d["steps"].pop()),
        broken(lambda d: d["steps"].append({**d["steps"][0], "step": "more"})),
        broken(lambda d: d["steps"][0].update(engine="cpu_9")),
        broken(lambda d: d["predicted"].update(accuracy=0.99)),
        broken(lambda d: d["steps"][0].update(calls="many")),
        broken(lambda d: d.update(module="os.system")),
    ],
)
def test_a_plan_that_is_none_is_refused(
    damage: Callable[[str], str], mkb_json: MkbJson, plan_file: str
) -> None:
    path = Path(plan_file)
    path.write_text(damage(path.read_text()))
    for command in ("inspect", "explain"):
        (found,) = mkb_json(command, plan_file, exit_code=2)["diagnostics"]
        assert found["id"] == "invalid-plan"
    assert mkb_json("run", plan_file, exit_code=2)["diagnostics"][0]["id"] == "invalid-plan"


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (figures.seconds, 0.0, "0 s"),
        (figures.seconds, 0.00045, "0.45 ms"),
        (figures.seconds, 0.45, "450 ms"),
        (figures.seconds, 12.34, "12.3 s"),
        (figures.seconds, 125.0, "2 min 05 s"),
        (figures.seconds, 7800.0, "2 h 10 min"),
        (figures.joules, 0.0081, "8.1 mJ"),
        (figures.joules, 57.0, "57 J"),
        (figures.joules, 1_234_000.0, "1.23 MJ"),
        (figures.dollars, 0.0, "$0"),
        (figures.dollars, 0.00012, "$0.00012"),
        (figures.dollars, 4.2, "$4.20"),
        (figures.dollars, 0.0000024816, "$0.00000248"),
        (figures.percent, 0.056, "5.6 %"),
        (figures.percent, 0.2, "20 %"),
    ],
)
def test_how_quantities_read(shown: Callable[[float], str], value: float, text: str) -> None:
    assert shown(value) == text


def test_how_changes_read() -> None:
    assert figures.change(50.0, 100.0) == f"{figures.MINUS}50 %"
    assert figures.change(300.0, 100.0) == "3 x"
    assert figures.change(1.0, 1.0) == "same"
    assert figures.difference(figures.joules, 40.0, 75.0) == f"{figures.MINUS}35 J"
    assert figures.difference(figures.joules, None, 75.0) == "?"
    assert figures.difference(figures.seconds, 5.0 + 1e-9, 5.0) == "0"


def test_nothing_in_a_plan_acts_on_the_terminal(mkb: Mkb, plan_file: str) -> None:
    path = Path(plan_file)
    document = json.loads(path.read_text())
    document["notes"] = ["\x1b]0;owned\x07"]
    document["steps"][0]["alternatives"] = [
        {"variant": "\x1b]", "slot": "\x07", "why_not": "\x1b[2J"}
    ]
    document["cluster"] = "\x1b[31m"
    path.write_text(json.dumps(document))
    for command in (["inspect"], ["explain"], ["compare", plan_file], ["run", "--dry-run"]):
        out = mkb(*command, plan_file).output
        assert "\x1b" not in out and "\x07" not in out
