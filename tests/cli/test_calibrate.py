"""`mkb calibrate cascade` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from murakkab.cli.main import cli

ANSWERS = "confidence,cheap_right,strong_right\n0.9,1,1\n0.8,1,0\n0.4,0,1\n0.3,0,1\n"


def mkb(folder: Path, *arguments: str) -> Result:
    data = folder / "outcomes.csv"
    data.write_text(ANSWERS)
    given = ["calibrate", "cascade", "--data", str(data), *arguments]
    return CliRunner().invoke(cli, given, env={"COLUMNS": "100", "NO_COLOR": "1"})


def test_a_table_and_the_entry_are_printed(tmp_path: Path) -> None:
    done = mkb(tmp_path, "--members", "llama-3.1-8b,llama-3.1-70b", "--thresholds", "0.5")
    assert done.exit_code == 0, done.output
    assert "threshold  go on  right  of the strong model's" in done.stdout
    assert 'name = "llama-3.1-8b-then-llama-3.1-70b"' in done.stdout


def test_the_entry_is_written_and_the_figures_are_json(tmp_path: Path) -> None:
    to = tmp_path / "cascade.toml"
    done = mkb(tmp_path, "--members", "a,b", "--name", "two", "-o", str(to), "--json")
    document = json.loads(done.stdout)
    assert document["written"] == str(to) and document["questions"] == 4
    assert [row["threshold"] for row in document["thresholds"]] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    assert 'name = "two"' in to.read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--members", "one"], "`--members` takes two executors"),
        (["--members", "a,b", "--thresholds", "2"], "`--thresholds` takes numbers from 0 to 1"),
        (["--members", "a,b", "--thresholds", "x"], "`--thresholds` takes numbers from 0 to 1"),
        ([], "--members"),
    ],
)
def test_wrong_flags_are_refused(flags: list[str], message: str, tmp_path: Path) -> None:
    done = mkb(tmp_path, *flags)
    assert done.exit_code == 2
    assert message in done.output
