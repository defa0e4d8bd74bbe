"""`mkb run --cache`: what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..python_entries import python_entries
from .conftest import Mkb

WORKFLOW = """task work(item: Text) -> Text "Works."

workflow w(items: [Text]) -> [Text] {
    done = for item in items {
        made = work(item)
        yield made
    }
    return done
}
"""
LIBRARY = python_entries("work")
TOOLS = """def work(item):
    return item.upper()
"""
RUN = ("run", "w.mkb", "--library", "library.toml", "--input", 'items=["a", "b"]')


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_second_run_is_told_to_have_had_its_results(mkb: Mkb) -> None:
    flags = ("--cache", "kept", "--cache-size", "1 MB")
    assert "cached" not in mkb(*RUN, *flags).stderr
    done = mkb(*RUN, *flags, "--record", "run.json")
    assert json.loads(done.stdout) == ["A", "B"]
    header, row = [
        line.split() for line in done.stderr.splitlines() if "work" in line or "repeated" in line
    ][:2]
    assert (header[-1], row[-1]) == ("cached", "2")
    shown = mkb("show", "run.json", "made")
    assert "made[0]  at" in shown.stdout
    assert ", cached\n" in shown.stdout


def test_a_folder_that_cannot_be_written_is_told_of(folder: Path, mkb: Mkb) -> None:
    (folder / "kept").write_text("no folder")
    done = mkb(*RUN, "--cache", "kept")
    assert json.loads(done.stdout) == ["A", "B"]
    assert done.stderr.count("results are not kept in `kept`") == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--cache-size", "1 GB"), "`--cache-size` goes with `--cache`"),
        (("--cache-sampled",), "`--cache-sampled` goes with `--cache`"),
        (("--cache", "kept", "--cache-size", "5 min"), "is none of its quantities"),
        (("--cache", "kept", "--cache-size", "much"), "is not a number with a unit"),
    ],
)
def test_what_is_refused(mkb: Mkb, flags: tuple[str, ...], said: str) -> None:
    assert said in mkb(*RUN, *flags, exit_code=2).stderr
