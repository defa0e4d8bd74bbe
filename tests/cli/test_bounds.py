"""`mkb run --budget`, `--deadline`, `--keep-going`: how runs end early, and go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..python_entries import python_entries
from .conftest import Mkb

WORKFLOW = """task work(item: Text) -> Text "Works."

workflow w(items: [Text]) -> [Text]
    expect len(items) = 3
{
    made = for item in items { yield work(item) }
    return made
}
"""
LIBRARY = python_entries("work")
TOOLS = """from pathlib import Path
def work(item):
    with Path("log").open("a") as file:
        file.write(item)
    return item.upper()
"""
BEGIN = ("run", "w.mkb", "--library", "library.toml", "--input", 'items=["a", "b", "c"]')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_budget(folder: Path, mkb: Mkb) -> None:
    done = mkb(*BEGIN, "--budget", "0 Wh", "--json", exit_code=3)
    document = json.loads(done.stdout)
    (found,) = document["diagnostics"]
    assert found["id"] == "run-stopped"
    assert "the budget of 0 Wh would be crossed: 0 Wh is spent" in found["message"]
    assert "about 3 of 3 calls are left" in found["message"]
    assert not (folder / "log").exists()
    done = mkb("run", "--resume", str(Path(document["journal"]).parent), "--budget", "1 Wh")
    assert json.loads(done.stdout) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "5"), "`5` is none of its quantities; write `$5`, `100 Wh`, `2 kJ`"),
        (("--budget", "$-1"), "`$-1` is none of its quantities"),
        (("--budget", "lots"), "`lots` is not a number with a unit"),
        (("--budget", "$1", "--budget", "$2"), "there is one of that kind already"),
        (("--deadline", "3 GB"), "`3 GB` is none of its quantities; write `90 s`"),
    ],
)
def test_what_is_no_bound(folder: Path, mkb: Mkb, words: tuple[str, ...], said: str) -> None:
    assert said in mkb(*BEGIN, *words, exit_code=2).stderr


BROKEN = """from pathlib import Path
def work(item):
    with Path("log").open("a") as file:
        file.write(item)
    if item == "b" and not Path("mended").exists():
        raise ValueError("broken")
    return item.upper()
"""


def test_items_that_fail_are_left_out_and_tried_again_alone(folder: Path, mkb: Mkb) -> None:
    (folder / "tools.py").write_text(BROKEN)
    done = mkb(*BEGIN, "--keep-going", exit_code=3)
    assert json.loads(done.stdout) == ["A", "C"]
    assert "warning[item-left-out]: step `work[1]` failed" in done.stderr
    assert "1 item was left out" in done.stderr
    (run,) = json.loads(mkb("runs", "--json").stdout)["runs"]
    assert (run["state"], run["completed"]) == ("partial", 2)
    (folder / "mended").touch()
    again = mkb("run", "--resume", run["run"])
    assert json.loads(again.stdout) == ["A", "B", "C"]
    assert sorted((folder / "log").read_text()) == ["a", "b", "b", "c"]


def test_a_run_goes_on_with_an_executor_that_was_mended(folder: Path, mkb: Mkb) -> None:
    (folder / "tools.py").write_text(BROKEN)
    mkb(*BEGIN, "--journal", "run.db", exit_code=3)
    (folder / "tools.py").write_text(TOOLS)
    refused = mkb("run", "--resume", "run.db", exit_code=2).stderr
    assert "`work` has changed since the plan was compiled" in refused
    assert "`--allow-changed` goes on with it" in refused
    mended = mkb("run", "--resume", "run.db", "--allow-changed", "--record", "run.json")
    assert json.loads(mended.stdout) == ["A", "B", "C"]
    assert "gone on with, though changed since the plan was made: `work`" in mended.stderr
    document = json.loads((folder / "run.json").read_text())
    assert document["resumed"] == {
        "journal": str(folder / "run.db"),
        "changed_executors": ["work"],
    }
    assert (
        "`--allow-changed` goes with `--resume`"
        in mkb(*BEGIN, "--allow-changed", exit_code=2).stderr
    )


def test_a_budget_counts_what_the_journal_has_before_anything_begins(
    folder: Path, mkb: Mkb
) -> None:
    items = json.dumps([chr(97 + i) for i in range(20)])
    begin = ("run", "w.mkb", "--library", "library.toml", "--input", f"items={items}")
    planned = json.loads(mkb(*begin, "--dry-run", "--json").stdout)
    (call,) = planned["calls"]
    budget = f"{10 * call['energy_j'] / call['calls']} J"
    mkb(*begin, "--journal", "run.db", "--budget", budget, exit_code=3)
    done = len((folder / "log").read_text())
    for _ in range(2):
        mkb("run", "--resume", "run.db", "--budget", budget, exit_code=3)
    assert len((folder / "log").read_text()) == done == 10
