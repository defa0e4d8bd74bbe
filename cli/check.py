"""`mkb check`: say what is wrong with workflows."""

from __future__ import annotations

from pathlib import Path

import click

from ..ir.diagnostics import CompileError, Diagnostic, InputError
from .failures import INPUT_WRONG, PROGRAM_WRONG
from .options import common
from .output import Output, read_input


@click.command
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@common
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Say what is wrong with workflows.

    Checks names, types, units and prompts of every FILE (`-` is stdin, whose imports are relative
    to this folder) and what it imports. Needs no library.
    """
    from ..compiler.frontend import check_file, check_text

    output: Output = ctx.obj
    found: list[Diagnostic] = []
    workflows: dict[str, list[str]] = {}
    code = 0
    for file in files:
        try:
            if str(file) == "-":
                text = read_input("-", output)
                checked = check_text(text, "<stdin>", Path(), output.sources)
            else:
                checked = check_file(file, output.sources)
        except (CompileError, InputError) as error:
            found += error.diagnostics
            code = max(code, INPUT_WRONG if isinstance(error, InputError) else PROGRAM_WRONG)
            continue
        found += checked.warnings
        name = "<stdin>" if str(file) == "-" else str(file)
        workflows[name] = list(checked.workflow_names)
    output.report(dict.fromkeys(found))  # files that import the same faulty one repeat its faults
    lines = [f"{file}: no errors" for file in workflows]
    output.result("\n".join(lines), {"workflows": workflows})
    ctx.exit(code)
