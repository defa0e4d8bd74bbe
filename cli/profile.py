"""`mkb profile`: measured figures for the optimiser."""

from __future__ import annotations

from pathlib import Path

import click

from .options import common
from .output import Output


@click.group
@common
def command() -> None:
    """Make profiles: measured figures for the optimiser.

    `mkb profile import` takes them from the records of runs.
    """


@command.command("import")
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "to", metavar="F", help="Write here instead of stdout.")
@common
@click.pass_obj
def import_(output: Output, /, runs: tuple[Path, ...], to: str | None) -> None:
    """Take from run records how long model servers took to start.

    RUN is a record or its folder. Give the file to `--profiles` when compiling.
    """
    from ..runtime.record import load_record
    from ..runtime.starts import start_profile

    records = [load_record(run / "run.json" if run.is_dir() else run) for run in runs]
    output.product("csv", start_profile(record.document for record in records), to)
