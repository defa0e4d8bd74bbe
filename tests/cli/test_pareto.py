"""`mkb pareto`: tables, plans, plots, and what it refuses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from murakkab.targets.plan import plan_from_json

Mkb = Callable[..., Result]
MkbJson = Callable[..., dict[str, Any]]

ROOT = Path(__file__).parents[2]
CLUSTER = str(ROOT / "examples/clusters/one-a100-node.toml")
TRADE = """
import "std/text"

workflow ask(query: Text, notes: [Text]) -> Text
    minimize cost
    require accuracy >= 0.8
    require p95 latency <= 60 s
    expect len(notes) = 40
    expect tokens(summarize) = 60
{
    gists = for note in notes {
        yield summarize(note)
    }
    return answer(query, gists)
}
"""


@pytest.fixture
def trade(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "trade.mkb").write_text(TRADE)
    return ("pareto", "trade.mkb", "--cluster", CLUSTER)


def test_each_point_is_a_plan_that_other_commands_take(
    trade: tuple[str, ...], mkb: Mkb, mkb_json: MkbJson, tmp_path: Path
) -> None:
    out = mkb_json(*trade, "--points", "3", "--save", "kept/here")
    assert out["metrics"] == [
        {"metric": "latency", "percentile": "p95"},
        {"metric": "cost", "percentile": None},
    ]
    assert not out["complete"] and len(out["points"]) == 3
    paths = [point["written"] for point in out["points"]]
    assert paths == [str(Path("kept/here") / f"{n}.json") for n in (1, 2, 3)]
    latencies, costs = zip(*(point["values"] for point in out["points"]), strict=True)
    assert list(latencies) == sorted(latencies)
    assert list(costs) == sorted(costs, reverse=True)
    for point, path in zip(out["points"], paths, strict=True):
        text = (tmp_path / path).read_text()
        plan = plan_from_json(text, path)
        assert plan.to_json() == text
        assert json.loads(text)["predicted"] == point["predicted"]
        assert point["predicted"]["accuracy"] >= 0.8 and point["gap"] == 0.0
        assert plan.predicted.latency_s["p95"] == point["values"][0]
    assert "answer" in mkb("compare", *paths[:2]).stdout
    assert "point 2 of 3 on the frontier of p95 latency and cost" in mkb("explain", paths[1]).stdout
    assert mkb_json("run", paths[2])["run"]["status"] == "done"


def test_the_ends_are_the_plans_for_one_metric(trade: tuple[str, ...], mkb_json: MkbJson) -> None:
    first, *_, last = mkb_json(*trade, "--metrics", "cost, energy", "--points", "4")["points"]
    for end, metric in ((first, "cost"), (last, "energy")):
        plan = mkb_json("compile", *trade[1:], "--minimize", metric)["plan"]
        key = {"cost": "cost_usd", "energy": "energy_j"}[metric]
        assert end["predicted"][key] == pytest.approx(plan["predicted"][key], rel=2e-3)


def test_equal_inputs_give_equal_bytes(trade: tuple[str, ...], mkb: Mkb, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    told = []
    for name in ("a", "b"):
        told.append(mkb(*trade, "--points", "2", "--plot", f"{name}.svg", "--save", name).stdout)
    assert told[0] == told[1]
    for path in ("1.json", "2.json"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert b"p95 latency, s" in drawn and b"cost, US dollars" in drawn and b"-O0" in drawn


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--metrics", "cost,cost"), "`--metrics cost,cost`: `cost` is given twice"),
        (("--metrics", "p50 latency,p95 latency"), "`latency` is given twice"),
        (("--metrics", "cost"), "a frontier is of two metrics"),
        (("--metrics", "cost,speed"), "no metric `speed`"),
        (("--metrics", "p75 latency,cost"), "no metric `p75 latency`"),
        (("--metrics", "p95 cost,latency"), "no metric `p95 cost`"),
        (("--metrics", "cost,"), "no metric ``"),
        (("--points", "1"), "a frontier has two ends: `--points` is at least 2"),
        (("-O1",), "chooses nothing to trade"),
        (("--passes", "bind"), "chooses nothing to trade"),
        (("--plot", "front.txt"), "cannot plot to `front.txt`"),
        (("--save", "trade.mkb"), "cannot save into `trade.mkb`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_frontier(
    flags: tuple[str, ...], said: str, trade: tuple[str, ...], mkb_json: MkbJson
) -> None:
    if "--save" in flags:
        flags = (*flags, "--points", "2")
    found = mkb_json(*trade, *flags, exit_code=2)["diagnostics"]
    assert len(found) == 1 and said in found[0]["message"]


def test_requirements_that_cannot_be_met_are_named(
    trade: tuple[str, ...], mkb_json: MkbJson
) -> None:
    need = "p95 latency <= 1 s"
    [error] = mkb_json(*trade, "--require", need, exit_code=1)["diagnostics"]
    assert error["id"] == "infeasible"
    assert f"`{need}`" in error["message"] and "would be feasible" in error["help"]


def test_without_matplotlib_it_is_said_how_to_get_it(
    trade: tuple[str, ...], mkb_json: MkbJson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    [error] = mkb_json(*trade, "--plot", "front.png", exit_code=2)["diagnostics"]
    assert error["id"] == "missing-library"
    assert error["help"] == "pip install 'murakkab[plot]'"


def test_a_workflow_with_nothing_to_choose_has_one_point(mkb: Mkb) -> None:
    out = mkb("pareto", "ask.mkb").stdout
    assert "1 point\n" in out and "what changes" not in out


def test_a_folder_of_an_earlier_run_is_replaced_and_any_other_refused(
    trade: tuple[str, ...], mkb: Mkb, tmp_path: Path
) -> None:
    few = (*trade, "--points", "2", "--save", "kept")
    mkb(*trade, "--points", "3", "--save", "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "1.json",
        "2.json",
        "3.json",
    ]
    mkb(*few)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["1.json", "2.json"]
    (tmp_path / "kept/notes.txt").write_text("mine")
    refused = mkb(*few, exit_code=2)
    assert "`kept` holds `notes.txt`" in refused.stderr
    (tmp_path / "kept/notes.txt").rename(tmp_path / "kept/7.json")
    mkb(*few, exit_code=2)
    assert (tmp_path / "kept/7.json").read_text() == "mine"


ONE_GPU = """
name = "small"

[[pool]]
name = "a100"
nodes = 1
gpu = { type = "A100-SXM4-80GB", count = 1 }
cpu = { type = "EPYC-7V12", cores = 12 }
memory = "200 GB"
price = "$3 / h"
"""
BACK = """
import "std/code"
import "std/text"

workflow back(problem: Text) -> Text
    minimize cost
{
    code = write_code(problem, "") with { model: "Qwen/Qwen3-14B" }
    said = summarize(code) with { model: "meta-llama/Llama-3.1-8B-Instruct" }
    return CLOSE
}
"""
CLOSINGS = ("said", 'write_code(problem, said) with { model: "Qwen/Qwen3-14B" }')


@pytest.mark.parametrize("closing", CLOSINGS, ids=["turns", "back-and-forth"])
def test_no_plan_of_compile_beats_the_frontier(
    mkb_json: MkbJson, tmp_path: Path, closing: str
) -> None:
    """Neither one with engines that sleep nor one with engines apart, where sharing has none."""
    (tmp_path / "small.toml").write_text(ONE_GPU)
    (tmp_path / "back.mkb").write_text(BACK.replace("CLOSE", closing))
    flags = ("back.mkb", "--cluster", "small.toml")
    out = mkb_json("pareto", *flags, "--points", "3", "--metrics", "latency,cost")
    mkb_json("compile", *flags, "-o", "plan.json")
    plan = plan_from_json((tmp_path / "plan.json").read_text())
    cheapest = min(point["values"][1] for point in out["points"])
    quickest = min(point["values"][0] for point in out["points"])
    assert cheapest <= plan.predicted.cost_usd * (1 + 1e-6)
    assert quickest <= plan.predicted.latency_s["p50"] * (1 + 1e-6)
