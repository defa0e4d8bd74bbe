"""Carbon: what a plan's and a run's energy stands for where the cluster names its region."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from murakkab.cli.main import cli

WORKFLOW = """task reply(question: Text) -> Text "Answer a question." prompt "{question}"

workflow ask(question: Text) -> Text {
    said = reply(question)
    return said
}
"""
CLUSTER = """name = "north"
region = "eu-north-1"
[[pool]]
name = "node"
nodes = 1
gpu = { type = "H100", count = 1 }
cpu = { cores = 16 }
memory = "64 GB"
"""
GRID = """[[carbon]]
region = "our-roof"
name = "Panels on our roof"
g_per_kwh = 41
year = 2025
source = "our meter"
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"ask.mkb": WORKFLOW, "north.toml": CLUSTER, "grid.toml": GRID}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in texts}


def mkb(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [*map(str, arguments)], env={"NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def document(*arguments: object) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(mkb(*arguments, "--json")[1])
    return told


def test_a_plan_says_what_a_request_emits(files: dict[str, Path]) -> None:
    command = ("compile", files["ask.mkb"], "--cluster", files["north.toml"])
    plan = document(*command)["plan"]
    carbon = plan["carbon"]
    assert (carbon["region"], carbon["g_per_kwh"], carbon["year"]) == ("SE", 40.7, 2023)
    assert carbon["carbon_g"] == pytest.approx(plan["predicted"]["energy_j"] / 3.6e6 * 40.7)
    assert "CO2e a request (`SE`, 40.7 g / kWh in 2023)" in mkb(*command)[1]


def test_a_run_says_what_it_emitted(files: dict[str, Path], tmp_path: Path) -> None:
    command = (
        "run",
        files["ask.mkb"],
        "--cluster",
        files["north.toml"],
        "--input",
        "question=Why?",
    )
    run = document(*command, "--record", tmp_path / "record")["run"]
    totals = run["totals"]
    modelled = sum(step["energy_j"] for step in run["steps"])
    assert totals["measured"]["carbon_g"] == pytest.approx(modelled / 3.6e6 * 40.7)
    predicted = totals["predicted"]
    assert predicted["carbon_g"] == pytest.approx(predicted["energy_j"] / 3.6e6 * 40.7)
    assert "carbon, CO2e" in mkb("show", tmp_path / "record")[1]


def test_without_a_region_nothing_is_said(files: dict[str, Path]) -> None:
    files["north.toml"].write_text(CLUSTER.replace('region = "eu-north-1"\n', ""))
    command = ("compile", files["ask.mkb"], "--cluster", files["north.toml"])
    assert document(*command)["plan"]["carbon"] is None
    assert "CO2e" not in mkb(*command)[1]


def test_a_region_of_ones_own(files: dict[str, Path]) -> None:
    files["north.toml"].write_text(CLUSTER.replace("eu-north-1", "our-roof"))
    command = ("compile", files["ask.mkb"], "--cluster", files["north.toml"])
    code, text = mkb(*command)
    assert code == 2
    assert "north.toml:2:10" in text
    assert "no region `our-roof` in the catalogue" in text
    carbon = document(*command, "--catalog", files["grid.toml"])["plan"]["carbon"]
    assert (carbon["region"], carbon["source"]) == ("our-roof", "our meter")
