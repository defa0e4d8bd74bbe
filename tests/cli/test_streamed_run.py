"""`mkb run` from a JSON Lines file to another: a million items need no more memory than ten."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ..python_entries import python_entries
from .process import ran, started

WORKFLOW = """task work(item: { id: Int, text: Text }) -> Text "Works."
task size(text: Text) -> Int "Counts."

workflow w(items: [{ id: Int, text: Text }]) -> [{ text: Text, size: Int }] {
    done = for item in items where item.id != 2 {
        text = work(item)
        size = size(text)
        yield { text, size }
    }
    return done
}
"""
ONE = """task work(item: { id: Int, text: Text }) -> Text "Works."
task size(text: Text) -> Int "Counts."

workflow one(items: [{ id: Int, text: Text }]) -> Int {
    texts = for item in items {
        text = work(item)
        yield text
    }
    return len(texts)
}
"""
LIBRARY = python_entries("work", "size")
# the item of a file's name waits for as long as there is a file `wait`
TOOLS = """import time
from pathlib import Path
def work(item):
    with Path("log").open("a") as file:
        file.write(f"{item['id']}\\n")
    while item["id"] == 5 and Path("wait").exists():
        Path("waiting").touch()
        time.sleep(0.01)
    times = Path("times")
    return item["text"].upper() * (int(times.read_text()) if times.exists() else 1)
def size(text):
    return len(text)
"""
ITEMS: list[dict[str, Any]] = [{"id": number, "text": f"ïtem {number}"} for number in range(10)]
EXPECTED = [
    {"text": item["text"].upper(), "size": len(item["text"])} for item in ITEMS if item["id"] != 2
]
RUN = ("run", "w.mkb", "--library", "library.toml", "--input", "items=@items.jsonl")
TO = ("--results", "out.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {"w.mkb": WORKFLOW, "one.mkb": ONE, "library.toml": LIBRARY, "tools.py": TOOLS}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return tmp_path


def results(folder: Path) -> list[object]:
    lines = (folder / "out.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_from_file_to_file(folder: Path) -> None:
    code, out, err = ran(folder, *RUN, *TO, "--record", "run.json")
    assert (code, out) == (0, f"9 items in `{folder / 'out.jsonl'}`\n"), err
    assert results(folder) == EXPECTED
    assert not (folder / "out.jsonl.part").exists()
    record = json.loads((folder / "run.json").read_text())
    assert record["inputs"]["items"]["lines"] == str(folder / "items.jsonl")
    assert record["result"]["count"] == 9
    code, out, err = ran(folder, "show", "run.json")
    assert code == 0 and f"input items: 10 items in `{folder / 'items.jsonl'}`" in out, err

    (folder / "more").mkdir()
    inputs = folder / "more" / "inputs.json"
    inputs.write_text('{"items": "@../items.jsonl"}')  # from the folder of the file
    again = (*RUN[:4], "--inputs", str(inputs), "--json")
    code, out, err = ran(folder, *again)
    assert code == 0 and json.loads(out)["result"] == EXPECTED, err
    code, out, err = ran(folder, *again, *TO)
    assert json.loads(out)["result"] == {
        "lines": str(folder / "out.jsonl"),
        "sha256": record["result"]["sha256"],
        "count": 9,
    }


def test_a_list_that_is_used_whole_is_read_whole(folder: Path) -> None:
    text = ONE.replace("len(texts)", "len(texts) + len(items)")
    (folder / "w.mkb").write_text(text)
    code, out, err = ran(folder, *RUN)
    assert (code, out) == (0, "20\n"), err


def test_no_items_make_an_empty_file(folder: Path) -> None:
    (folder / "items.jsonl").write_text("\n")
    code, out, err = ran(folder, *RUN, *TO)
    assert (code, out, results(folder)) == (0, f"0 items in `{folder / 'out.jsonl'}`\n", []), err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*RUN, "--results", "items.jsonl"), 2, "would take the place of input `items`"),
        ((*RUN, "--results", "gone/out.jsonl"), 2, "there is no folder `gone`"),
        ((*RUN, "--results", "more"), 2, "cannot write `more`: it is a folder"),
        (
            ("run", "one.mkb", *RUN[2:], *TO),
            2,
            "the result of `one` is Int, and only a list is written to a file",
        ),
        ((*RUN[:5], "items=@gone.jsonl"), 3, "input `items`: `gone.jsonl` does not exist"),
        ((*RUN[:5], "items=@bad.jsonl", *TO), 3, "bad.jsonl:2:1"),
    ],
)
def test_what_does_not_fit_is_refused(
    folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "more").mkdir()
    (folder / "bad.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": "2", "text": "b"}\n')
    found, _, err = ran(folder, *arguments)
    assert (found, said in err) == (code, True), err
    assert not (folder / "out.jsonl").exists()
    assert not list(folder.glob(".murakkab/runs/*/run.db"))


@pytest.fixture
def killed(folder: Path) -> Path:
    """Return the journal of a run that was killed while an item was at work."""
    (folder / "wait").touch()
    process = started(folder, *RUN, *TO, "--journal", "run.db")
    while not (folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder / "wait").unlink()
    assert not (folder / "out.jsonl").exists()
    return folder / "run.db"


def test_a_killed_run_is_taken_up_where_it_stood(folder: Path, killed: Path) -> None:
    with closing(sqlite3.connect(killed)) as connection:
        rows = connection.execute("SELECT instance FROM step WHERE instance LIKE 'text[%'")
        completed = [instance.removeprefix("text[")[:-1] for (instance,) in rows]
    same = "items=" + json.dumps(ITEMS)  # the inputs are the same, however they are given
    code, _, err = ran(folder, "run", "--resume", str(killed), "--input", same)
    assert (code, results(folder)) == (0, EXPECTED), err
    done = (folder / "log").read_text().split()
    assert all(done.count(name) == 1 for name in completed)


def test_a_run_is_not_taken_up_with_other_items(folder: Path, killed: Path) -> None:
    with (folder / "items.jsonl").open("a") as file:
        file.write('{"id": 11, "text": "more"}\n')
    code, _, err = ran(folder, "run", "--resume", str(killed))
    assert code == 2 and f"an input cannot be had: `{folder / 'items.jsonl'}` has changed" in err


@pytest.mark.parametrize(("times", "limit"), [(10_000, 400_000), (40_000, 1_500_000)])
def test_a_disk_that_is_full_ends_the_run_and_says_what_to_do(
    folder: Path, times: int, limit: int
) -> None:
    """Found when the last is written, and while items come; no other file is as large."""
    (folder / "times").write_text(str(times))
    code, _, err = ran(folder, *RUN, *TO, "--no-journal", largest_file=limit)
    assert code == 3 and "`out.jsonl`: cannot be written: file too large" in err, err
    assert "make room" in err
    assert not (folder / "out.jsonl").exists()


def test_a_file_that_another_run_writes_is_left_alone(folder: Path) -> None:
    (folder / "wait").touch()
    process = started(folder, *RUN, *TO)
    while not (folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    code, _, err = ran(folder, *RUN, *TO)
    assert code == 2 and "another run is writing `out.jsonl.part`" in err
    (folder / "wait").unlink()
    _, err = process.communicate()
    assert (process.returncode, results(folder)) == (0, EXPECTED), err
