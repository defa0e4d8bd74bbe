"""`mkb compile`: compile a workflow to a plan, or show it at any stage on the way there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .observe import Watch, observe_flags
from .options import common, compile_flags, request
from .output import Output

_STAGES = ("ast", "flow", "logical", "fused", "placed", "plan")


@click.command
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@compile_flags
@click.option("--emit", type=click.Choice(_STAGES), help="Print this stage instead of a summary.")
@click.option("--brief", is_flag=True, help="IR without source places and predictions.")
@click.option("-o", "to", metavar="F", help="Write the plan (or what `--emit` names) here.")
@observe_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: Path,
    emit: str | None,
    brief: bool,
    to: str | None,
    print_ir_after: str | None,
    time_passes: bool,
    stats: bool,
    remarks: bool,
    **flags: Any,
) -> None:
    """Compile a workflow to a plan.

    Without `--emit` or `-o`, prints what was decided beside the plan without optimisation (`-O0`).
    """
    if emit == "ast":
        output.product("ast", _tree(file), to)
        return
    from ..compiler.driver import compile_workflow, stage

    wanted = request(file, flags)
    watch = Watch(print_ir_after, time_passes, stats, remarks)
    if emit not in (None, "plan"):
        from ..ir.printer import print_module

        text = print_module(stage(wanted, emit, watch, output.sources), brief=brief)
        output.product("ir", text, to, watch.finish())
        return
    compiled = compile_workflow(wanted, watch, output.sources)
    output.report(compiled.warnings)
    times = watch.finish()
    if emit == "plan" or to is not None or output.as_json:
        output.product("plan", compiled.plan.to_json(), to, times)
        return
    from .summary import summary

    beside = None
    if wanted.level > 0:
        beside = compile_workflow(replace(wanted, level=0, passes=None)).plan
    output.result(summary(compiled.plan, compiled.placed, beside), {})


def _tree(file: Path) -> str:
    from ..compiler.parser import parse
    from ..compiler.source import read_source
    from .tree import tree

    return tree(parse(read_source(file), str(file)))
