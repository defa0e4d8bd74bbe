"""`mkb run --resume` after a real `kill -9`, and `mkb runs`."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from ..python_entries import python_entries
from .process import ran, started

WORKFLOW = """task work(item: Text) -> Text "Works."
effect task tell(item: Text) -> Bool "Tells."

workflow w(items: [Text]) -> [Text] {
    done = for item in items {
        made = work(item)
        told = tell(made)
        yield if told { yield made } else { yield "untold" }
    }
    return done
}
"""
LIBRARY = python_entries("work", "tell")
# `tell` of the second item waits for as long as there is a file `wait`
TOOLS = """import time
from contextlib import closing
from pathlib import Path
def note(line):
    with Path("log").open("a") as file:
        file.write(line + "\\n")
def work(item):
    note(f"work {item}")
    return item.upper()
def tell(item):
    note(f"tell {item}")
    while item == "B" and Path("wait").exists():
        Path("waiting").touch()
        time.sleep(0.01)
    return True
"""
BEGIN = ("run", "w.mkb", "--library", "library.toml", "--input", 'items=["a", "b", "c"]')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("w.mkb", WORKFLOW), ("library.toml", LIBRARY), ("tools.py", TOOLS)):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def killed(folder: Path) -> Path:
    """Return the folder of a run that was killed while the second effect was at work."""
    (folder / "wait").touch()
    process = started(folder, *BEGIN)
    while not (folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder / "wait").unlink()
    (run,) = (folder / ".murakkab" / "runs").iterdir()
    return run.relative_to(folder)


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().split("\n")[:-1]


def test_a_killed_run_is_taken_up_and_nothing_is_done_twice(folder: Path, killed: Path) -> None:
    code, out, _ = ran(folder, "runs", "--json")
    (run,) = json.loads(out)["runs"]
    assert (code, run["run"], run["state"]) == (0, str(killed), "killed")
    assert run["completed"] >= 2

    code, out, err = ran(folder, "run", "--resume", str(killed), "--json")
    document = json.loads(out)
    (failure,) = document["failures"]
    assert code == 3 and failure["instance"] == "told[1]"
    assert "nobody can tell here whether it happened" in failure["reason"]
    assert document["journal"] == str(killed / "run.db")

    words = ("run", "--resume", str(killed), "--settle", "told[1]=false")
    code, out, err = ran(folder, *words)
    assert (code, json.loads(out)) == (0, ["A", "untold", "C"]), err
    assert sorted(log(folder)) == ["tell A", "tell B", "tell C", "work a", "work b", "work c"]
    assert not (folder / killed / "run.db").exists()  # told, so no longer needed


REFUSED = {
    ("--settle", "told[1]=maybe"): "`--settle told[1]=maybe`: expected Bool",
    ("--settle", "told[1]"): "does not say of a step what became of it",
    ("--settle", "made[0]=again"): "what became of `made[0]` is not in question",
    ("--input", 'items=["a"]'): "is of a run with other inputs",
    ("--journal", "x.db"): "`--resume` and `--journal` contradict each other",
    ("--dry-run",): "`--resume` and `--dry-run` contradict each other",
}


def test_what_does_not_fit_is_refused(folder: Path, killed: Path) -> None:
    for words, said in REFUSED.items():
        code, _, err = ran(folder, "run", "--resume", str(killed), *words)
        assert code == 2 and said in err
        assert "Traceback" not in err
    for memo in ("", "[]", '{"libraries": 1}', '{"libraries": [1], "endpoints": {}}'):
        with closing(sqlite3.connect(folder / killed / "run.db")) as connection, connection:
            connection.execute("UPDATE run SET memo = ?", (memo,))
        code, _, err = ran(folder, "run", "--resume", str(killed))
        assert code == 2 and "what it says of libraries and endpoints is damaged" in err


def test_a_run_is_known_by_its_name_and_by_what_went_on_with_it(folder: Path, killed: Path) -> None:
    assert ran(folder, "run", "--resume", killed.name)[0] == 3  # in doubt
    (_, second) = json.loads(ran(folder, "runs", "--json")[1])["runs"]
    assert Path(second["gone_on_with"]) == (folder / killed / "run.db").absolute()
    assert f"gone on with in {Path(second['run']).name}" in ran(folder, "runs")[1]
    assert ran(folder, "show", Path(second["run"]).name)[0] == 0
    # the folder of what was taken up has no journal of its own
    code, out, err = ran(folder, "run", "--resume", second["run"], "--settle", "told[1]=true")
    assert (code, json.loads(out)) == (0, ["A", "B", "C"]), err
    code, _, err = ran(folder, "run", "--resume", str(killed))
    assert code == 2 and "has no journal" in err and "`mkb runs` lists" in err
    third = json.loads(ran(folder, "runs", "--json")[1])["runs"][-1]
    code, _, err = ran(folder, "run", "--resume", third["run"])
    assert code == 2 and f"it is done: `mkb show {third['run']}`" in err


def test_runs_that_begin_in_one_moment_have_each_a_place_of_its_own(folder: Path) -> None:
    begun = [started(folder, *BEGIN) for _ in range(6)]
    ended = [run.communicate(timeout=120) for run in begun]
    assert [run.returncode for run in begun] == [0] * 6, ended
    assert [json.loads(out) for out, _ in ended] == [["A", "B", "C"]] * 6
    assert "cannot be taken up" not in "".join(err for _, err in ended)
    runs = json.loads(ran(folder, "runs", "--json")[1])["runs"]
    assert [run["state"] for run in runs] == ["done"] * 6


def test_of_runs_that_begin_one_journal_one_has_it(folder: Path) -> None:
    begun = [started(folder, *BEGIN, "--journal", "j.db") for _ in range(4)]
    said = [run.communicate(timeout=120)[1] for run in begun]
    assert sorted(run.returncode for run in begun) == [0, 2, 2, 2], said
    assert sum("there is a journal `j.db` already" in text for text in said) == 3
    assert not list(folder.glob("j.db.*"))


def test_a_strangers_journal_runs_no_code_and_writes_no_file(folder: Path, killed: Path) -> None:
    path = folder / killed / "run.db"
    evil = folder / "evil"
    evil.mkdir()
    (evil / "library.toml").write_text(LIBRARY)
    (evil / "tools.py").write_text("from pathlib import Path\nPath('harm').touch()\n" + TOOLS)
    with closing(sqlite3.connect(path)) as connection, connection:
        (memo,) = connection.execute("SELECT memo FROM run").fetchone()
        noted = json.loads(json.loads(memo)["noted"])
        noted |= {"libraries": [str(evil / "library.toml")], "results": str(folder / "keys")}
        forged = json.dumps({**json.loads(memo), "noted": json.dumps(noted)})
        connection.execute("UPDATE run SET memo = ?", (forged,))
    resume = ("run", "--resume", str(killed), "--settle", "told[1]=true")
    code, _, err = ran(folder, *resume)
    assert code == 2 and "was not begun by this user here" in err
    assert "give `--library` and `--results` with `--resume`" in err
    flags = ("--library", "library.toml", "--results", "own.jsonl")
    code, _, err = ran(folder, *resume[:3], *flags)
    assert code == 0, err
    assert (folder / "own.jsonl").exists()
    assert not (folder / "harm").exists() and not (folder / "keys").exists()


def test_runs_go_on_where_no_key_can_be_kept(folder: Path) -> None:
    (folder / "state").touch()  # no folder
    home = str(folder / "state")
    begin = (*BEGIN, "--journal", "j.db")
    assert ran(folder, *begin, XDG_STATE_HOME=home)[0] == 0
    code, _, err = ran(folder, "run", "--resume", "j.db", XDG_STATE_HOME=home)
    assert code == 2 and "give `--library` with `--resume`" in err
    code, out, err = ran(
        folder, "run", "--resume", "j.db", "--library", "library.toml", XDG_STATE_HOME=home
    )
    assert (code, json.loads(out)) == (0, ["A", "B", "C"]), err


def test_past_runs_are_deleted_but_not_those_that_can_be_taken_up(
    folder: Path, killed: Path
) -> None:
    assert ran(folder, "run", *BEGIN[1:])[0] == 0
    assert ran(folder, "runs", "prune")[1].startswith("deleted 1 run, left 1")
    assert ran(folder, "runs", "prune", "--unfinished")[1].startswith("deleted 1 run, left 0")
    assert "no runs are kept" in ran(folder, "runs")[1]


def test_a_run_without_a_journal_leaves_none(folder: Path) -> None:
    assert ran(folder, *BEGIN, "--no-journal")[0] == 0
    assert not list(folder.rglob("run.db*"))
    code, _, err = ran(folder, *BEGIN, "--journal", "j.db", "--no-journal")
    assert code == 2 and "contradict" in err
    assert ran(folder, *BEGIN, "--journal", "j.db")[0] == 0
    assert (folder / "j.db").exists()
    code, _, err = ran(folder, *BEGIN, "--journal", "j.db")
    assert code == 2 and "there is a journal `j.db` already" in err
    code, out, _ = ran(folder, "run", "--resume", "j.db")  # one that is kept tells its result again
    assert (code, json.loads(out)) == (0, ["A", "B", "C"])
    assert log(folder).count("work a") == 2  # of the two runs, none of the third


def test_a_plan_must_be_that_of_the_journal(folder: Path, killed: Path) -> None:
    other = WORKFLOW.replace('"untold"', '"not told"')
    (folder / "w.mkb").write_text(other)
    code, _, err = ran(folder, *BEGIN[:4], "--resume", str(killed))
    assert code == 2 and "is of a run with other plan" in err
