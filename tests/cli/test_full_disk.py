"""A run whose journal can grow no more: it says so, and goes on where there is room again."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from ..python_entries import python_entries
from .process import ran

WORKFLOW = """task work(item: Text) -> Text "Works."

workflow w(items: [Text]) -> [Text] {
    made = for item in items { yield work(item) }
    return made
}
"""
LIBRARY = python_entries("work")
TOOLS = """from pathlib import Path
def work(item):
    with Path("log").open("a") as file:
        file.write(item + "\\n")
    return item * 5000
"""
ITEMS = [f"i{n}" for n in range(40)]


def test_a_run_without_room_for_its_journal_loses_nothing(tmp_path: Path) -> None:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    (tmp_path / "inputs.json").write_text(json.dumps({"items": ITEMS}))
    begin = "run w.mkb --library library.toml --inputs inputs.json --journal j.db".split()
    code, _, err = ran(tmp_path, *begin, largest_file=200 << 10)  # as on a full disk
    assert code == 3
    assert "its result cannot be written to the journal" in err
    assert "make room and go on with `mkb run --resume`" in err
    before = Counter((tmp_path / "log").read_text().split())
    assert 0 < len(before) < len(ITEMS)

    _, out, err = ran(tmp_path, "run", "--resume", "j.db")
    assert json.loads(out) == [item * 5000 for item in ITEMS], err
    after = Counter((tmp_path / "log").read_text().split())
    again = after - before
    kept = [item for item in before if item not in again]
    assert kept  # what was written down was not done again
    assert max(after.values()) <= 2


def test_a_result_is_told_though_its_record_has_no_room(tmp_path: Path) -> None:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    (tmp_path / "run.json.values").mkdir()
    (tmp_path / "run.json.values" / "calls.jsonl").symlink_to("/dev/full")
    begin = "run w.mkb --library library.toml --journal j.db --record run.json --input".split()
    code, out, err = ran(tmp_path, *begin, 'items=["a", "b"]')
    assert (code, json.loads(out)) == (0, ["a" * 5000, "b" * 5000])
    assert "warning[unwritten-record]: the record `run.json` cannot be written: " in err
    assert "mkb show" not in err

    # so many calls that there is no room while they are made
    (tmp_path / "log").unlink()
    (tmp_path / "j.db").unlink()
    items = [f"i{n}" for n in range(400)]
    code, _, err = ran(tmp_path, *begin, f"items={json.dumps(items)}")
    assert code == 3 and "what it returned cannot be recorded: [Errno 28]" in err
    assert "`mkb run --resume j.db` goes on from there" in err
    _, out, err = ran(tmp_path, "run", "--resume", "j.db", "--record", "other.json")
    assert json.loads(out) == [item * 5000 for item in items], err
    counts = Counter((tmp_path / "log").read_text().split())
    assert counts.keys() == set(items) and max(counts.values()) == 1


def test_what_is_no_ordinary_file_keeps_its_name(tmp_path: Path) -> None:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "pipe")
    begin = ("run", "w.mkb", "--library", "library.toml", "--input", 'items=["a"]')
    for flag in ("--results", "--record"):
        code, _, err = ran(tmp_path, *begin, flag, "pipe")
        assert code == 2 and "pipe`: it is no " in err
    assert (tmp_path / "pipe").is_fifo() and not (tmp_path / "log").exists()
