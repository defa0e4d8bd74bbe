"""`mkb calibrate`: what settings of compositions are worth, from data."""

from __future__ import annotations

from pathlib import Path

import click

from ..ir.diagnostics import Diagnostic, InputError
from .options import common
from .output import Output

_USUAL = "0.5,0.6,0.7,0.8,0.9,0.95"


@click.group
@common
def command() -> None:
    """Find out what settings of compositions are worth.

    `mkb calibrate cascade` reads which of two models got which questions right.
    """


@command.command()
@click.option(
    "--data",
    metavar="F",
    required=True,
    type=click.Path(path_type=Path),
    help="A CSV of outcomes, a row an answer or a group.",
)
@click.option("--members", metavar="A,B", required=True, help="The executors, cheap and strong.")
@click.option("--name", metavar="NAME", help="What to call the cascade; A-then-B without.")
@click.option("--thresholds", metavar="T,…", default=_USUAL, show_default=True)
@click.option("-o", "to", metavar="F", help="Write the library entry here.")
@common
@click.pass_obj
def cascade(
    output: Output,
    /,
    data: Path,
    members: str,
    name: str | None,
    thresholds: str,
    to: str | None,
) -> None:
    """Say what thresholds of a cascade are worth, and write its library entry.

    For each threshold: the share of calls that go on to the strong model, the share of answers that
    are right, and that over the strong model's alone. The entry is for a file given to `--library`;
    the first threshold is what a call without a pin takes.
    """
    from dataclasses import asdict

    from ..targets.calibration import calibrated, cascade_toml, load_outcomes
    from . import figures
    from .tables import table

    names = [member.strip() for member in members.split(",")]
    if len(names) != 2 or not all(names):
        raise InputError(Diagnostic("usage", "`--members` takes two executors, `CHEAP,STRONG`"))
    asked = _thresholds(thresholds)
    outcomes = load_outcomes(data)
    settings = list(calibrated(outcomes, asked))
    questions = sum(one.questions for one in outcomes)
    source = f"{questions:g} questions of {data.name}"
    entry = cascade_toml(name or f"{names[0]}-then-{names[1]}", names, settings, source)
    if output.as_json or to is not None:
        rows = [asdict(setting) for setting in settings]
        output.product("toml", entry, to, {"questions": questions, "thresholds": rows})
    rows_shown = [
        [
            f"{s.threshold:g}",
            figures.percent(s.escalates),
            figures.percent(s.accuracy),
            f"{s.factor:.3f} ± {1.96 * s.error:.3f}",
        ]
        for s in settings
    ]
    header = ("threshold", "go on", "right", "of the strong model's")
    text = table(header, rows_shown, left=1)
    if to is not None:
        output.aside(f"{text}\n\nwrote the entry to `{to}`: give it to `--library`")
    elif not output.as_json:
        output.result(f"{text}\n\n{entry}", {})


def _thresholds(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0.0 <= value <= 1.0 for value in found):
        hint = f"such as `{_USUAL}`"
        raise InputError(
            Diagnostic("usage", "`--thresholds` takes numbers from 0 to 1, with commas", help=hint)
        )
    return list(dict.fromkeys(found))
