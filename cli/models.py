"""`mkb models`: models of one's own in a catalogue file."""

from __future__ import annotations

from pathlib import Path

import click

from ..ir.diagnostics import Diagnostic, InputError
from .options import common
from .output import Output


@click.group
@common
def command() -> None:
    """Describe models of your own.

    `mkb models add` writes a model's figures from its `config.json`.
    """


@command.command()
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it; its folder's name without.")
@click.option("-o", "to", metavar="F", help="Add it to this catalogue file instead of stdout.")
@common
@click.pass_obj
def add(output: Output, /, path: Path, name: str | None, to: str | None) -> None:
    """Write a model's figures as a catalogue entry.

    PATH is a Hugging Face `config.json`, or its folder. Weights beside it are counted; without
    them, parameters follow from the sizes that it states. Give the file to `--catalog`.
    """
    from ..targets.catalog_text import model_toml
    from ..targets.model_folder import described_model
    from . import figures

    folder = path if path.is_dir() else path.parent
    model = described_model(path, name or folder.resolve().name)
    text = model_toml(model)
    if to is not None and to != "-":
        text = _joined(Path(to), model.name, text)
    output.report(_doubts(text, to or "<stdout>"))
    output.product("toml", text, to, {"model": model.name})
    if to is not None and to != "-":
        size = f"{figures.parameters(model.params)} parameters, {figures.size(model.weight_bytes)}"
        output.aside(f"wrote `{model.name}` ({size}) to `{to}`: give it to `--catalog`")


def _joined(file: Path, name: str, entry: str) -> str:
    """Return the text of a catalogue file with one more entry; InputError where it has it."""
    from ..targets.catalog import catalog_source, read_catalog

    if not file.exists():
        return entry
    source = catalog_source(file)
    if name in read_catalog(source).models:
        hint = "give it another name with `--name`, or take the old entry out"
        message = f"`{file}` has a model `{name}` already"
        raise InputError(Diagnostic("duplicate-entry", message, help=hint))
    return f"{source.text.rstrip()}\n\n{entry}"


def _doubts(text: str, file: str) -> list[Diagnostic]:
    """Return what is hard to believe in what was written, so that nobody plans with it unseen."""
    from ..targets.catalog import load_catalog, read_catalog
    from ..targets.catalog_check import check_catalog
    from ..targets.toml_source import parse_toml

    source = parse_toml(text, file)
    return list(check_catalog([source], load_catalog().joined(read_catalog(source))))
