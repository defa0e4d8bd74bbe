"""Progress: kept line by line, read back, and refused where it is of something else."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.runtime.evaluation.journal import Outcome, open_journal

DIGESTS = {"workflow": "1", "library": "2", "dataset": "3", "metric": "exact_match"}


def begun(path: Path) -> Path:
    with open_journal(path, "w", DIGESTS) as journal:
        journal.add("a: x", 1, Outcome(1.0, (10, 20)))
        journal.add("a: x", 2, Outcome(0.0, error="it broke"))
        journal.add("a: y\u2028", 1, Outcome(0.25))
    return path


def test_what_was_scored_is_read_back_and_failures_are_not(tmp_path: Path) -> None:
    path = begun(tmp_path / "p.jsonl")
    with open_journal(path, "w", DIGESTS) as journal:
        assert journal.of("a: x") == {1: Outcome(1.0, (10, 20))}
        assert journal.of("a: y\u2028") == {1: Outcome(0.25)}
        journal.add("a: x", 2, Outcome(0.5))
    assert open_journal(path, "w", DIGESTS).of("a: x")[2] == Outcome(0.5)


def test_every_cut_loses_at_most_a_line(tmp_path: Path) -> None:
    whole = begun(tmp_path / "p.jsonl").read_bytes()
    path = tmp_path / "cut.jsonl"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with open_journal(path, "w", DIGESTS) as journal:
            journal.add("a: z", 9, Outcome(1.0))
        again = open_journal(path, "w", DIGESTS)
        assert again.of("a: z") == {9: Outcome(1.0)}
        assert (1 in again.of("a: x")) == (whole[:size].count(b"\n") >= 2)


@pytest.mark.parametrize("name", ["workflow", "library", "dataset", "metric"])
def test_progress_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = begun(tmp_path / "p.jsonl")
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"the {name} has changed") as refused:
        open_journal(path, "w", {**DIGESTS, name: "other"})
    assert refused.value.diagnostics[0].id == "stale-progress"
    with pytest.raises(InputError, match="it is of workflow `w`"):
        open_journal(path, "v", DIGESTS)
    assert path.read_bytes() == before


def test_progress_without_an_outcome_gives_way(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with open_journal(path, "w", DIGESTS):
        assert path.exists()
    with open_journal(path, "w", {**DIGESTS, "library": "other"}) as journal:
        journal.add("a: x", 1, Outcome(1.0))
    with pytest.raises(InputError, match="library has changed"):
        open_journal(path, "w", DIGESTS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello\n", "not the progress of an evaluation"),
        ('{"schema": "murakkab/evaluation/9"}\n', "this version's"),
        ("[]\n", "not the progress of an evaluation"),
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        open_journal(path, "w", DIGESTS)
    assert path.read_text() == text


@pytest.mark.parametrize("line", ["{}", "[]", "3", '{"configuration": "a", "line": 1}'])
def test_garbled_lines_are_told(tmp_path: Path, line: str) -> None:
    path = begun(tmp_path / "p.jsonl")
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match="line 5 is not an outcome"):
        open_journal(path, "w", DIGESTS)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        open_journal(tmp_path / "none" / "p.jsonl", "w", DIGESTS).__enter__()
