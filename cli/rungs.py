"""Progress of an evaluation on stderr: a bar on a terminal, a line a configuration elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import figures
from .display import safe, shorten
from .output import Output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..runtime.evaluation.dataset import Item
    from ..runtime.evaluation.journal import Outcome
    from ..runtime.evaluation.search import Candidate, Watcher


class _Lines:
    """Tells of rungs, of configurations that are through one, and of runs that failed."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def rung(self, number: int, candidates: int, items: int, known: int, runs: int) -> None:
        """Tell what is to be done."""
        line = (
            f"rung {number}: {figures.several(candidates, 'configuration')} on"
            f" {figures.several(items, 'item')}, {figures.several(runs, 'run')}"
        )
        self._output.aside(line + (f" ({known} known from before)" if known else ""))

    def outcome(self, candidate: Candidate, item: Item, outcome: Outcome) -> None:
        """Tell of a failure."""
        if outcome.error is not None:
            said = f"{candidate.label}: the item of line {item.line} failed: {outcome.error}"
            self._output.aside(f"  {safe(said)}")

    def measured(self, candidate: Candidate) -> None:
        """Tell how a configuration did."""
        said = "cannot be measured"
        if candidate.why_not is None:
            said = f"{figures.share(candidate.mean)} on {figures.several(candidate.n, 'item')}"
        self._output.aside(f"  {safe(candidate.label)}: {said}")


class _Bar(_Lines):
    """A bar of the rung's runs, below the lines."""

    def __init__(self, output: Output, bar: Progress, task: TaskID) -> None:
        super().__init__(output)
        self._bar = bar
        self._task = task

    def rung(self, number: int, candidates: int, items: int, known: int, runs: int) -> None:
        """Begin the bar anew."""
        super().rung(number, candidates, items, known, runs)
        self._bar.reset(self._task, total=runs, description=f"rung {number}")

    def outcome(self, candidate: Candidate, item: Item, outcome: Outcome) -> None:
        """Move on."""
        super().outcome(candidate, item, outcome)
        said = shorten(safe(candidate.label), 60)
        self._bar.update(self._task, advance=1, description=said)


@contextmanager
def watching(output: Output) -> Iterator[Watcher]:
    """Give what an evaluation is to tell how it goes on; beside JSON nothing is shown."""
    if output.as_json or not sys.stderr.isatty():
        yield _Lines(output)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(output, bar, bar.add_task("", total=None))
