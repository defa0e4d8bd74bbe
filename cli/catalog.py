"""`mkb catalog`: what is known of models and hardware, and whether catalogue files are sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .failures import INPUT_WRONG
from .options import catalogs, common
from .output import Output

if TYPE_CHECKING:
    from ..targets.catalog import Catalog
    from ..targets.toml_source import TomlSource


@click.group(invoke_without_command=True)
@common
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show and check what is known of models, hardware and prices.

    Without a command, says how much there is of each.
    """
    if ctx.invoked_subcommand is not None:
        return
    from .catalogtables import TABLES, contents

    output: Output = ctx.obj
    found = contents(())
    counts = {name: len(found[name]) for name in TABLES}
    lines = [f"{count:>5} {name}" for name, count in counts.items()]
    lines.append("`mkb catalog show NAME` shows one of these lists, or one entry")
    output.result("\n".join(lines), {"counts": counts})


@command.command()
@click.argument("name", metavar="[NAME]", required=False)
@catalogs
@common
@click.pass_obj
def show(output: Output, /, name: str | None, catalogs: tuple[Path, ...]) -> None:
    """Show lists of the catalogue, or one entry with its sources.

    NAME is a list (`models`, `gpus`, `cpus`, `prices`, `scores`, `grids`) or the name of a model, a
    GPU, a CPU or a region. Without it, models and hardware are listed.
    """
    from .catalogtables import TABLES, contents, entry, listed

    found = contents(catalogs)
    if name is None or name in TABLES:
        shown = ("models", "gpus", "cpus") if name is None else (name,)
        parts = [listed(table, found[table]) for table in shown]
        output.result("\n\n".join(parts), {table: found[table] for table in shown})
        return
    told = entry(name, catalogs)
    if told is None:
        known = {row[key] for table in found.values() for row in table for key in _KEYS & set(row)}
        hint = did_you_mean(name, known) or f"lists are {', '.join(TABLES)}"
        message = f"nothing in the catalogue is named `{name}`"
        raise InputError(Diagnostic("unknown-entry", message, help=hint))
    output.result(*told)


_KEYS = {"name", "type", "region"}


@command.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@common
@click.pass_context
def check(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Say what is wrong with catalogue files, or with the shipped ones.

    Finds what is misspelt, figures that contradict each other, and figures that are hard to
    believe. Prices and scores of a FILE may refer to every FILE and to what is shipped.
    """
    from ..targets.catalog_check import check_catalog
    from ..targets.toml_source import shipped_toml

    output: Output = ctx.obj
    found: list[Diagnostic] = []
    sources: list[TomlSource] = [] if files else list(shipped_toml("catalog"))
    for file in files:
        try:
            sources.append(_sound(file))
        except InputError as error:
            found += error.diagnostics
    found += check_catalog(sources, _known(sources))
    found.sort(key=lambda d: d.sort_key)
    output.report(found)
    wrong = {d.span.file for d in found if d.span is not None}
    names = [source.file for source in sources if source.file not in wrong]
    entries = sum(len(rows) for source in sources for rows in source.data.values())
    output.result(
        "\n".join(f"{name}: sound" for name in names), {"sound": names, "entries": entries}
    )
    if any(d.severity == "error" for d in found):
        ctx.exit(INPUT_WRONG)


def _sound(file: Path) -> TomlSource:
    """Return a file that follows the format; InputError with everything that does not."""
    from ..targets.catalog import catalog_source, read_catalog
    from ..targets.references import read_references

    source = catalog_source(file)
    read_catalog(source)
    read_references(source)
    return source


def _known(sources: list[TomlSource]) -> Catalog:
    from ..targets.catalog import load_catalog, read_catalog

    known = load_catalog()
    for source in sources:
        known = known.joined(read_catalog(source))
    return known
