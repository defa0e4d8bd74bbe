"""`mkb opt`: run passes over IR text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .observe import Watch, observe_flags
from .options import common, environment_flags, request
from .output import Output, read_input


@click.command
@click.argument("file", metavar="FILE.mkir|FILE.mkb")
@click.option("--passes", metavar="SPEC", default="", help='"canonicalize,fuse{prompts=false}"')
@click.option("--workflow", metavar="NAME", help="Which workflow of a FILE.mkb.")
@environment_flags
@click.option("-o", "to", metavar="F", help="Write here instead of stdout.")
@observe_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: str,
    passes: str,
    to: str | None,
    print_ir_after: str | None,
    time_passes: bool,
    stats: bool,
    remarks: bool,
    **flags: Any,
) -> None:
    """Run passes over IR text.

    Reads FILE.mkir (`-` is stdin), verifies it, runs the pipeline and prints the IR that comes
    out. Without `--passes` it is printed back unchanged. A FILE.mkb is lowered to flow IR first.
    """
    from ..compiler.driver import environment, stage
    from ..ir.printer import print_module
    from ..ir.reader import read_module
    from ..ir.verifier import verify
    from ..passes.pipeline import parse_pipeline, run_pipeline

    pipeline = parse_pipeline(passes)
    watch = Watch(print_ir_after, time_passes, stats, remarks)
    wanted = request(Path(file), flags)
    if file.endswith(".mkb"):
        module = stage(wanted, "flow", sources=output.sources)
    else:
        module = read_module(read_input(file, output), "<stdin>" if file == "-" else file)
        verify(module)
    if pipeline:
        _, context = environment(wanted)
        module = run_pipeline(module, pipeline, context, watch)
    output.product("ir", print_module(module), to, watch.finish())
