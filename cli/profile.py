"""`mkb profile`: measured figures for the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..ir.quantities import parse_quantity
from .options import common, libraries
from .output import Output


def _levels(whole: bool) -> Any:
    """Return a callback that reads numbers above 0, separated by commas."""

    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...]:
        found = []
        for part in text.split(",") if text is not None else ():
            try:
                value = float(part)
            except ValueError:
                value = 0.0
            if not 0.0 < value < 1e6 or (whole and value != int(value)):
                kind = "a whole number" if whole else "a number"
                raise click.BadParameter(f"`{part.strip()}` is not {kind} above 0", ctx, param)
            found.append(value)
        return tuple(dict.fromkeys(found))

    return read


def _indices(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = (-1,)
    if min(found) < 0:
        raise click.BadParameter(f"`{text}` is not a list of numbers", ctx, param)
    return found


def _seconds(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = parse_quantity(text)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if found.unit not in ("s", "") or found.value <= 0.0:
        raise click.BadParameter(f"`{text}` is not a time: `2 s`, `500 ms`", ctx, param)
    return found.value


@click.group(invoke_without_command=True)
@click.option("--endpoint", metavar="URL", help="Measure the model server at this address.")
@click.option("--launch", metavar="MODEL", help="Start a vLLM server of MODEL and measure it.")
@click.option("--executor", metavar="NAME", help="Measure a tool of runner `python` or `torch`.")
@click.option(
    "--input",
    "inputs",
    metavar="F",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What the tool is called with; may be repeated.",
)
@click.option("--model", metavar="NAME", help="The model's name at the endpoint.")
@click.option("--as", "name", metavar="NAME", help="The model's name in the profile.")
@click.option("--device", metavar="TYPE", help="What the endpoint's server runs on (`remote`).")
@click.option("--precision", metavar="P", help="Of the weights, such as `bf16`.")
@click.option(
    "--tp", metavar="N", type=click.IntRange(1), help="Tensor-parallel degree: GPUs of the server."
)
@click.option(
    "--gpus", metavar="I,…", callback=_indices, help="GPUs of this machine that serve the endpoint."
)
@click.option("--key-env", metavar="VAR", help="The environment variable with the endpoint's key.")
@click.option(
    "--loads",
    metavar="N,…",
    callback=_levels(whole=True),
    help="Requests at once; without, 1, 2, 4, … up to saturation.",
)
@click.option(
    "--rates", metavar="R,…", callback=_levels(whole=False), help="Random arrivals a second."
)
@click.option(
    "--max-latency",
    metavar="T",
    callback=_seconds,
    help="End the search where p95 of an answer takes longer.",
)
@click.option("--isl", metavar="N", type=click.FloatRange(1), help="Mean tokens of prompts.")
@click.option("--osl", metavar="N", type=click.FloatRange(1), help="Mean tokens of answers.")
@click.option(
    "--spread", metavar="S", type=click.FloatRange(0, 3), help="Of lengths; 0 makes all equal."
)
@click.option(
    "--trace", metavar="F", type=click.Path(path_type=Path), help="Lengths as in F (CSV)."
)
@click.option("--requests", metavar="N", type=click.IntRange(1), help="Requests of each repeat.")
@click.option(
    "--repeats", metavar="N", type=click.IntRange(1), default=5, help="Stretches measured (5)."
)
@click.option("--warmup", metavar="N", type=click.IntRange(0), help="Requests not counted.")
@click.option(
    "--time", "limit_s", metavar="T", callback=_seconds, help="At most so long a load (120 s)."
)
@click.option("--seed", metavar="N", type=int, default=0, help="Of what is left to chance (0).")
@click.option("-o", "to", metavar="F", help="Write here instead of stdout; other rows stay.")
@libraries
@common
@click.pass_context
def command(ctx: click.Context, /, **wishes: Any) -> None:
    """Make profiles: measured figures for the optimiser.

    Puts load after load on a model server and measures times, tokens a second and, where there are
    counters, power. Give the file to `--profiles` when compiling.

    `mkb profile import` takes figures from the records of runs.
    """
    if ctx.invoked_subcommand is not None:
        return
    from .profiling import profile

    profile(ctx.obj, wishes)


@command.command("import")
@click.argument("runs", metavar="RUN…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "to", metavar="F", help="Write here instead of stdout; other rows stay.")
@libraries
@common
@click.pass_obj
def import_(
    output: Output, /, runs: tuple[Path, ...], to: str | None, libraries: tuple[Path, ...]
) -> None:
    """Take figures from run records: of calls, and of how long model servers took to start.

    RUN is a record or its folder. Give the file to `--profiles` when compiling.
    """
    from ..runtime.profiling.records import record_rows
    from ..runtime.profiling.rows import merged, profile_csv
    from ..runtime.record import load_record
    from ..targets.library import load_library
    from .runs import record_of

    records = [load_record(record_of(run)) for run in runs]
    executors = {executor.name: executor for executor in load_library(libraries).executors}
    rows = record_rows(records, executors)
    if to is not None and to != "-":
        rows = merged(Path(to), rows)
    output.product("csv", profile_csv(rows), to)
