"""Plans of services on the command line: explained, compared, and what cannot be done with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Mkb

DATA = Path(__file__).parents[2] / "benchmarks" / "osdi26" / "data"
PROGRAM = """import "std/text"
workflow w(query: Text, notes: [Text]) -> Text
    minimize cost
    expect rate = 2 / s
{
    short = for note in notes { yield summarize(note) }
    return answer(query, short)
}
"""
CLUSTER = """name = "one"
[[pool]]
name = "a100"
nodes = 2
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { type = "EPYC-7V12", cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""


@pytest.fixture
def plans(mkb: Mkb, tmp_path: Path) -> Path:
    """Keep the plans of the published study's first hour."""
    for file in DATA.iterdir():
        shutil.copy(file, tmp_path)
    lines = (tmp_path / "arrivals.csv").read_text().splitlines()
    (tmp_path / "arrivals.csv").write_text("\n".join(lines[:58]) + "\n")
    clusters = (tmp_path / "cluster.toml").read_text()
    (tmp_path / "cluster.toml").write_text(clusters[: clusters.rindex("[[pool]]")])
    mkb("fleet", "study.toml", *"--policies joint,separate,osdi26 --save plans".split())
    return tmp_path / "plans"


def test_choices_have_a_next_best_with_its_price(mkb: Mkb, plans: Path) -> None:
    document = json.loads((plans / "joint.json").read_text())
    assert [each["kind"] for each in document["explained"]] == [0, 1, 2, 3]
    assert any(each["steps"][0]["price"] for each in document["explained"])
    hours = [epoch["value"] for epoch in document["epochs"]]
    for each in document["explained"]:
        (step,) = each["steps"]
        assert step["other"] != step["chosen"]
        assert (step["price"] is None) == (step["other"] == "")
        assert 0 <= (step["price"] or 0.0) < max(hours)
        assert all(0 < limit["price"] < max(hours) for limit in each["limits"])
    told = mkb("explain", "plans/joint.json").stdout
    assert "`joint` plan of `one day of video questions and code generation`" in told
    assert "video_qa/fast: latency <= 0.9 s" in told and "next best" in told
    assert "held back by accuracy" in told and "estimates: measured" in told
    alone = mkb("explain", "plans/joint.json", "video_qa").stdout
    assert "frames" in alone and "debaters" not in alone
    found = json.loads(mkb("explain", "plans/joint.json", "--json").stdout)
    assert found["classes"][0]["class"] == "video_qa/accurate"
    assert all(kind["routes"] for kind in found["classes"])


def test_a_policy_that_chooses_otherwise_is_shown_without_prices(mkb: Mkb, plans: Path) -> None:
    told = mkb("explain", "plans/osdi26.json").stdout
    assert "held at most" in told and "held back by" not in told


def test_two_days_are_compared(mkb: Mkb, plans: Path) -> None:
    told = mkb("compare", "plans/joint.json", "plans/separate.json").stdout
    assert "a day" in told and "video_qa/fast" in told
    found = json.loads(mkb("compare", "plans/joint.json", "plans/separate.json", "--json").stdout)
    days = found["days"]
    assert days["one"]["usd"] <= days["other"]["usd"] * 1.002
    assert [kind["class"] for kind in found["classes"]][-1] == "code_generation/fast"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["explain", "plans/joint.json", "video_q"], "no class has a step `video_q`"),
        (["run", "plans/joint.json"], "is the plan of a service, for all requests of a day"),
        (["inspect", "plans/joint.json"], "is the plan of a service, for all requests of a day"),
        (["explain", "broken.json"], "cannot use service plan `broken.json`: period_s: "),
        (["compare", "plans/joint.json", "broken.json"], "cannot use service plan `broken.json`"),
    ],
)
def test_what_cannot_be_done_with_them_is_told(
    mkb: Mkb, plans: Path, args: list[str], said: str
) -> None:
    document = json.loads((plans / "joint.json").read_text())
    (plans.parent / "broken.json").write_text(json.dumps({**document, "period_s": -1}))
    done = mkb(*args, exit_code=2)
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_program_with_a_rate_is_explained_with_its_service(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "w.mkb").write_text(PROGRAM)
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    mkb("compile", "w.mkb", "--cluster", "cluster.toml", "-o", "w.json")
    told = mkb("explain", "w.json").stdout
    assert "`joint` plan of `w`, least cost" in told and "held at most" in told
    assert "as it will run" in mkb("inspect", "w.json").stdout
    assert "same" in mkb("compare", "w.json", "w.json").stdout
    document = json.loads(mkb("explain", "w.json", "--json").stdout)
    assert document["service"]["kind"] == "service"


def test_a_plan_of_a_service_runs_its_largest_route(mkb: Mkb, tmp_path: Path) -> None:
    (tmp_path / "w.mkb").write_text(PROGRAM)
    (tmp_path / "cluster.toml").write_text(CLUSTER)
    mkb("compile", "w.mkb", "--cluster", "cluster.toml", "-o", "w.json")
    done = mkb("run", "w.json", "--input", "query=why", "--input", 'notes=["a", "b"]', "--json")
    assert json.loads(done.stdout)["run"]["status"] == "done"
