"""`mkb fleet`: tables, files and errors, on the first two hours of the published study."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from .conftest import Mkb

DATA = Path(__file__).parents[2] / "benchmarks" / "osdi26" / "data"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for file in DATA.iterdir():
        shutil.copy(file, tmp_path)
    lines = (tmp_path / "arrivals.csv").read_text().splitlines()
    (tmp_path / "arrivals.csv").write_text("\n".join(lines[:118]) + "\n")
    text = (tmp_path / "study.toml").read_text()
    (tmp_path / "study.toml").write_text('policies = ["autoscale", "joint"]\n' + text)
    clusters = (tmp_path / "cluster.toml").read_text()
    (tmp_path / "cluster.toml").write_text(clusters[: clusters.rindex("[[pool]]")])
    return tmp_path / "study.toml"


def test_policies_are_told_beside_each_other(mkb: Mkb, study: Path, tmp_path: Path) -> None:
    done = mkb("fleet", "study.toml", *"--csv day.csv --save plans --plot day.png".split())
    lines = done.stdout.splitlines()
    assert lines[0] == "one day of video questions and code generation"
    assert [line.split()[0] for line in lines[3:5]] == ["autoscale", "joint"]
    assert "replayed second by second" in done.stdout
    rows = list(csv.DictReader((tmp_path / "day.csv").open()))
    assert [(row["policy"], row["start_s"]) for row in rows] == [
        ("autoscale", "0.0"),
        ("autoscale", "3600.0"),
        ("joint", "0.0"),
        ("joint", "3600.0"),
    ]
    assert all(float(row["cost_usd"]) > 0 and int(row["gpus"]) > 0 for row in rows)
    plan = json.loads((tmp_path / "plans" / "joint.json").read_text())
    assert (plan["schema"], plan["kind"]) == ("murakkab/service-plan/1", "service")
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")


def test_json_has_every_figure(mkb: Mkb, study: Path) -> None:
    done = mkb("fleet", "study.toml", *"--policies joint --objective energy --json".split())
    document = json.loads(done.stdout)
    (row,) = document["policies"]
    assert row["policy"] == "joint" and row["unserved"] == []
    assert 0 < row["gpus_max"] == row["gpus_max_by_type"]["A100-SXM4-80GB"]
    assert len(row["classes"]) == 4 and all(kind["meets"] for kind in row["classes"])


def test_a_region_tells_the_carbon_of_a_day(mkb: Mkb, study: Path, tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('region = "SE"\n' + cluster.read_text())
    done = mkb("fleet", "study.toml", *"--policies autoscale --json".split())
    (row,) = json.loads(done.stdout)["policies"]
    assert row["carbon_kg"] == pytest.approx(row["energy_mwh"] * 1000 * 40.7 / 1000)


def test_a_class_out_of_reach_is_told_and_the_rest_is_planned(mkb: Mkb, study: Path) -> None:
    text = study.read_text().replace('latency = "0.9 s"', 'latency = "0.09 s"')
    study.write_text(text)
    done = mkb("fleet", "study.toml", "--policies", "joint")
    assert (
        "joint does not serve video_qa/fast: no configuration has a latency of 0.09 s (the least is"
    ) in done.stdout


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--policies", "jiont"], "no policy `jiont`: did you mean `joint`?"),
        (["--policies", "joint,joint"], "a policy is named twice"),
        (["--objective", "speed"], "speed"),
        (["--plot", "day.txt"], "its name ends in none of .png, .svg, .pdf"),
    ],
)
def test_flags_that_cannot_be(mkb: Mkb, study: Path, flags: list[str], said: str) -> None:
    done = mkb("fleet", "study.toml", *flags, exit_code=2)
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_study_that_is_not_there(mkb: Mkb) -> None:
    done = mkb("fleet", "none.toml", exit_code=2)
    assert "none.toml" in done.stderr
