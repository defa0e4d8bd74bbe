"""`mkb targets`: what can be compiled for, and a description of this machine."""

from __future__ import annotations

import click

from .options import common
from .output import Output


@click.group(invoke_without_command=True)
@common
@click.pass_context
def command(ctx: click.Context) -> None:
    """List what can be compiled for; describe this machine.

    `mkb targets detect` writes this machine as a cluster file.
    """
    if ctx.invoked_subcommand is not None:
        return
    from ..targets.registry import TARGETS
    from .tables import table

    output: Output = ctx.obj
    rows = [
        [
            target.name,
            target.description,
            ", ".join(sorted(target.runners)),
            "a cluster file" if target.described else "",
        ]
        for target in TARGETS.values()
    ]
    document = {
        "targets": [
            {
                "name": target.name,
                "description": target.description,
                "runners": sorted(target.runners),
                "needs_cluster": target.described,
            }
            for target in TARGETS.values()
        ]
    }
    output.result(table(("target", "what it is", "runners", "needs"), rows, left=4), document)


@command.command
@click.option("-o", "to", metavar="F", help="Write here instead of stdout.")
@common
@click.pass_obj
def detect(output: Output, /, to: str | None) -> None:
    """Describe this machine as a cluster file: cores, memory, GPUs."""
    from ..targets.cluster import to_toml
    from ..targets.detect import detect_host

    output.product("toml", to_toml(detect_host()), to)
