"""`mkb runs`: what is kept of past runs, which of them can be taken up, and deleting them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ..ir.diagnostics import Diagnostic, InputError
from .display import safe
from .options import common
from .output import Output
from .tables import table

RUNS = Path(".murakkab/runs")
_LIVE = "running"
_MOST_DAYS = 365_000  # a date before has no form


def fresh_record(workflow: str) -> Path:
    """Return the path of a record in a folder of its own, which is made."""
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{workflow}"
    folder, again = RUNS / stamp, 2
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # others begin in the same second
            folder, again = RUNS / f"{stamp}-{again}", again + 1
        except OSError as error:
            message = f"cannot keep a run in `{folder}`: {error.strerror}"
            raise InputError(Diagnostic("unusable-record", message)) from None
        else:
            return folder / "run.json"


def _kept(run: Path) -> Path:
    """Return the path of a run that may be named as in the list of runs."""
    return RUNS / run if not run.exists() and (RUNS / run).exists() else run


def record_of(run: Path) -> Path:
    """Return the record of a run: a file, or what is in its folder."""
    path = _kept(run)
    return path / "run.json" if path.is_dir() else path


def journal_of(run: Path) -> Path:
    """Return what a run is taken up from: a journal, its folder's, or what it went on with itself.

    Raises `InputError` where a folder has none.
    """
    path = _kept(run)
    if not path.is_dir() or (path / "run.db").exists():
        return path / "run.db" if path.is_dir() else path
    found = _past_run(path)
    if found is not None and found.gone_on_with is not None and found.gone_on_with.exists():
        return found.gone_on_with
    hint = "`mkb runs` lists the runs that can be taken up"
    if found is not None and found.state == "done":
        hint = f"it is done: `mkb show {path}` tells what it made"
    raise InputError(Diagnostic("no-journal", f"run `{path}` has no journal", help=hint))


@dataclass(frozen=True, slots=True)
class PastRun:
    """A folder of one run; `state` is `running`, `killed`, `interrupted`, `failed` or `done`.

    `completed` counts the steps that its journal has, None where it has none. `gone_on_with` is the
    journal of another folder that it was taken up from.
    """

    folder: Path
    workflow: str
    began: datetime
    state: str
    completed: int | None
    why: str | None
    gone_on_with: Path | None = None

    @property
    def journal(self) -> Path | None:
        """What the run can be taken up from, if it has not given its result."""
        unfinished = self.completed is not None and self.state != "done"
        return self.folder / "run.db" if unfinished else None

    def as_dict(self) -> dict[str, object]:
        """Return what JSON says of it."""
        return {
            "run": str(self.folder),
            "workflow": self.workflow,
            "began": self.began.isoformat(timespec="milliseconds"),
            "state": self.state,
            "completed": self.completed,
            "journal": None if self.journal is None else str(self.journal),
            "why": self.why,
            "gone_on_with": None if self.gone_on_with is None else str(self.gone_on_with),
        }


@click.group(invoke_without_command=True)
@common
@click.pass_context
def command(ctx: click.Context) -> None:
    """List past runs, and which of them can be taken up.

    `mkb show RUN` tells what one did, `mkb run --resume RUN` goes on with one that ended early.
    """
    if ctx.invoked_subcommand is not None:
        return
    output: Output = ctx.obj
    runs = list(past_runs(RUNS))
    if not runs:
        output.result(f"no runs are kept in `{RUNS}`", {"runs": []})
        return
    header = ("run", "workflow", "state", "why", "completed")
    output.result(table(header, _rows(runs), left=4), {"runs": [r.as_dict() for r in runs]})
    resumable = [run for run in runs if run.journal is not None and run.state != _LIVE]
    if resumable:
        output.aside(f"`mkb run --resume {resumable[-1].folder}` goes on with that one")


@command.command()
@click.option("--keep", metavar="N", type=click.IntRange(min=0), help="Leave the latest N.")
@click.option("--days", metavar="N", type=click.FloatRange(min=0), help="Leave those of N days.")
@click.option("--unfinished", is_flag=True, help="Also those that could be taken up.")
@common
@click.pass_obj
def prune(output: Output, /, keep: int | None, days: float | None, unfinished: bool) -> None:
    """Delete what is kept of past runs.

    Runs that could be taken up stay, and so does one that is running. Without `--keep` and `--days`
    all others go.
    """
    if days is not None and not days <= _MOST_DAYS:
        raise click.BadParameter(f"{days:g} is not in the range 0 to {_MOST_DAYS:,}")
    runs = list(past_runs(RUNS))
    chosen = runs[: len(runs) - keep] if keep is not None else runs
    if days is not None:
        since = datetime.now(UTC) - timedelta(days=days)
        chosen = [run for run in chosen if run.began < since]
    gone = [r for r in chosen if r.state != _LIVE and (unfinished or r.journal is None)]
    for run in gone:
        shutil.rmtree(run.folder)
    left = len(runs) - len(gone)
    count = "1 run" if len(gone) == 1 else f"{len(gone)} runs"
    output.result(f"deleted {count}, left {left}", {"deleted": [str(r.folder) for r in gone]})


def past_runs(folder: Path) -> Iterator[PastRun]:
    """Yield the runs kept in a folder, the earliest first; what is no run's is left out."""
    found = [run for each in folder.glob("*") if (run := _past_run(each)) is not None]
    yield from sorted(found, key=lambda run: (run.began, str(run.folder)))


def _past_run(folder: Path) -> PastRun | None:
    journal, record = folder / "run.db", folder / "run.json"
    try:
        if journal.exists():
            return _of_journal(folder, journal)
        if record.exists():
            return _of_record(folder, record)
    except (InputError, ValueError, KeyError, TypeError, OSError):
        return None  # garbled, or written by another version
    return None


def _of_journal(folder: Path, path: Path) -> PastRun:
    from ..runtime.journal.database import header_of, is_in_use, reading

    with reading(path) as connection:
        header = header_of(connection, path)
        (completed,) = connection.execute("SELECT count(*) FROM step").fetchone()
    state = header.state
    if state == _LIVE and not is_in_use(path):
        state = "killed"
    began = datetime.fromisoformat(header.begun_at)
    return PastRun(folder, header.workflow, began, state, completed, header.why)


def _of_record(folder: Path, path: Path) -> PastRun:
    document = json.loads(path.read_text("utf-8"))
    began = datetime.fromisoformat(document["started_at"])
    failures = document["failures"]
    why = f"{failures[0]['instance']}: {failures[0]['reason']}" if failures else None
    origin = Path(document["resumed"]["journal"]) if "resumed" in document else None
    return PastRun(folder, document["workflow"], began, document["status"], None, why, origin)


def _rows(runs: Sequence[PastRun]) -> list[Sequence[str]]:
    """Return a row for each run; one that was taken up says where its latest end is."""
    later = {run.gone_on_with: run.folder.name for run in runs if run.gone_on_with is not None}
    rows: list[Sequence[str]] = []
    for run in runs:
        completed = "" if run.completed is None else str(run.completed)
        why = "" if run.why is None else run.why.partition("\n")[0]
        name = later.get((run.folder / "run.db").absolute())
        if name is not None:
            why = f"gone on with in {name}"
        rows.append((safe(run.folder.name), safe(run.workflow), run.state, safe(why), completed))
    return rows
