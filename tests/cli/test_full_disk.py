"""A run whose journal can grow no more: it says so, and goes on where there is room again."""

from __future__ import annotations

import json
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
