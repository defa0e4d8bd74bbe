"""`mkb inspect`, `explain` and `compare`: what people see of a plan."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from murakkab.cli import figures
from murakkab.targets.plan import Plan

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]


def test_the_drawing_shows_order_and_independence(mkb: Mkb, plan_file: str) -> None:
    lines = mkb("inspect", plan_file).stdout.split("\n")
    row = {name: i for i, line in enumerate(lines) for name in NAMES if f"─ {name} ─" in line}
    assert row["scenes"] < row["frames"] == row["speech"] < row["text"] < row["answered"]
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "═ notes = for scene in scenes ═" in text
    assert "═ reply = if len(notes) > 0 ═" in text
    assert 'yield "nothing to see"' in text
    assert "frames-opencv [frames=5]" in text and "left out" in text
    assert "8 calls of 250 ms" in text


NAMES = ("scenes", "frames", "speech", "text", "answered")


def test_a_narrow_terminal_wraps_rows(
    mkb: Mkb, plan_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = mkb("inspect", plan_file).stdout
    drawing = out[: out.index("predicted")]
    boxes = [line for line in drawing.split("\n") if line[:1] in "╔╭║│╰╚"]
    assert max(map(len, boxes)) <= 60


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
        ("dot", "digraph {", "v_scenes -> v_frames"),
        ("mermaid", "flowchart TB", "v_scenes --> v_frames"),
    ],
)
def test_graphs_have_an_edge_for_data(
    kind: str, head: str, edge: str, mkb: Mkb, plan_file: str, tmp_path: Path
) -> None:
    text = mkb("inspect", plan_file, "--graph", kind).stdout
    assert text.startswith(head) and edge in text
    assert "v_text" in text and "v_answered" in text
    mkb("inspect", plan_file, "--graph", kind, "-o", "g")
    assert (tmp_path / "g").read_text() == text


def test_ir_and_document_of_a_plan(mkb: Mkb, mkb_json: MkbJson, plan: Plan, plan_file: str) -> None:
    assert mkb("inspect", plan_file, "--ir").stdout == plan.ir
    assert mkb_json("inspect", plan_file)["plan"] == json.loads(plan.to_json())


def test_alternatives_are_told_as_changes(mkb: Mkb, plan_file: str) -> None:
    out = mkb("explain", plan_file, "speech").stdout
    assert "left out" in out
    row = next(line for line in out.split("\n") if "whisper-large-v3" in line)
    assert row.split("  ")[-1].strip() == "+0.020"
    assert "+1.5 s" in row and "+340 J" in row and "+$0.0009" in row
    assert "not whisper-huge: it needs a GPU of 160 GB" in out


def test_every_step_is_explained_and_the_proof(mkb: Mkb, plan_file: str) -> None:
    out = mkb("explain", plan_file).stdout
    assert "text = read_text(frames)" in out
    assert "energy 2 kJ, proved" in out and "cost $0.004, at best $0.0038, gap 5 %" in out
    assert "note: `answer` is bound to `generate` by its prompt" in out


def test_an_unknown_step_is_named(mkb_json: MkbJson, plan_file: str) -> None:
    (found,) = mkb_json("explain", plan_file, "speach", exit_code=2)["diagnostics"]
    assert "`speach`" in found["message"] and found["help"] == "did you mean `speech`?"


def test_two_plans_side_by_side(mkb: Mkb, mkb_json: MkbJson, plan_file: str) -> None:
    mkb("compile", "ask.mkb", "-o", "p.json")
    out = mkb("compare", plan_file, "p.json").stdout
    assert "sim on two-a100-nodes" in out and "local on " in out
    same = mkb_json("compare", plan_file, plan_file)
    assert all(step["one"] == step["other"] for step in same["steps"])
    assert same["predicted"]["one"] == same["predicted"]["other"]


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
        broken(lambda d: d.update(ir=d["ir"].replace("return(%reply)", "return(%count)"))),
        broken(lambda d: d["steps"].pop()),
        broken(lambda d: d["steps"].append({**d["steps"][0], "step": "more"})),
        broken(lambda d: d["steps"][0].update(engine="cpu_9")),
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
    document["steps"][2]["alternatives"][1]["why_not"] = "\x1b[2J"
    document["cluster"] = "\x1b[31m"
    path.write_text(json.dumps(document))
    for command in (["inspect"], ["explain"], ["compare", plan_file], ["run", "--dry-run"]):
        out = mkb(*command, plan_file).output
        assert "\x1b" not in out and "\x07" not in out
