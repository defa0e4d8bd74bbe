"""`mkb fmt`: lay out workflows in the standard form."""

from __future__ import annotations

import click

from ..ir.diagnostics import CompileError, Diagnostic, InputError
from .failures import INPUT_WRONG, PROGRAM_WRONG
from .options import common
from .output import Output, read_input


@click.command
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--check", is_flag=True, help="Change nothing; exit 1 and name files that would.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print instead of rewriting.")
@common
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], check: bool, to_stdout: bool) -> None:
    """Lay out workflows in the standard form.

    Rewrites every FILE in place, comments kept; `-` reads stdin and writes stdout. A file that
    does not parse is left alone.
    """
    output: Output = ctx.obj
    changed: list[str] = []
    printed: list[str] = []
    found: list[Diagnostic] = []
    code = 0
    for file in files:
        try:
            before, after = _formatted(file, output)
        except (CompileError, InputError) as error:
            found += error.diagnostics
            code = max(code, INPUT_WRONG if isinstance(error, InputError) else PROGRAM_WRONG)
            continue
        if before != after:
            changed.append(file)
        if check:
            continue
        if to_stdout or file == "-":
            printed.append(after)
        elif before != after:
            output.write(file, after)
    if check and changed:
        code = max(code, PROGRAM_WRONG)
    output.report(found)
    text = "\n".join(f"{file}: not formatted" for file in changed) if check else "".join(printed)
    document = {"changed": changed, **({"text": "".join(printed)} if printed else {})}
    output.result(text.removesuffix("\n"), document)
    ctx.exit(code)


def _formatted(file: str, output: Output) -> tuple[str, str]:
    from ..compiler.formatter import format_source
    from ..compiler.source import read_source

    if file == "-":
        text = read_input(file, output)
        return text, format_source(text, "<stdin>")
    text = read_source(file)
    return text, format_source(text, file)
