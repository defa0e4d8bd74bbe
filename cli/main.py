"""`mkb`: finds the command, runs it, and turns whatever happens into an exit code.

Command modules are imported when their command runs, so that `mkb --help` is quick; each holds its
click command under the name `command`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .failures import INPUT_WRONG, failure_of
from .options import common
from .output import Output

# One line a command: its module, and what it does in a few words.
COMMANDS = {
    "check": "Say what is wrong with workflows.",
    "fmt": "Lay out workflows in the standard form.",
    "compile": "Compile a workflow to a plan.",
    "run": "Run a plan or a workflow.",
    "pull": "Fetch the models of a plan ahead of time.",
    "lock": "Write down which versions of its models a workflow uses.",
    "up": "Start the model servers of a plan and keep them running.",
    "down": "End the model servers that `mkb up` keeps in this folder.",
    "show": "Show what a past run did.",
    "runs": "List past runs, and which of them can be taken up.",
    "inspect": "Draw a plan: the workflow as written and as it will run.",
    "explain": "Say why each step (or STEP alone) runs as it does.",
    "compare": "Say what differs between two plans.",
    "pareto": "Say what a workflow's plans can trade of one metric for another.",
    "opt": "Run passes over IR text.",
    "evaluate": "Measure how well configurations of a workflow do on a dataset.",
    "fleet": "Plan a day of a service by several policies.",
    "predict": "Predict the speed, power and memory of a model server.",
    "profile": "Make profiles: measured figures for the optimiser.",
    "library": "List interfaces and what can carry them out.",
    "catalog": "Show and check what is known of models, hardware and prices.",
    "models": "Describe models of your own.",
    "calibrate": "Find out what settings of compositions are worth.",
    "targets": "List what can be compiled for; describe this machine.",
    "new": "Write a small project that works.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f".{cmd_name}", __package__).command
        assert isinstance(found, click.Command)  # the convention every command module keeps
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which name comes closest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = did_you_mean(name, COMMANDS) or f"commands: {', '.join(COMMANDS)}"
            raise InputError(Diagnostic("usage", f"no command `{name}`", help=hint))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(  # type: ignore[override]  # click's overloads promise a value in embedded use
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run the command line and exit: the outermost frame of every `mkb`."""
        arguments = list(sys.argv[1:] if args is None else args)
        output = Output.of(arguments)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a terminal that knows no UTF-8
        try:
            code = self._run(arguments, prog_name, output, extra)
        except BrokenPipeError:
            # the reader has gone (`mkb … | head`): say nothing, not even at interpreter exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        sys.exit(code)

    def _run(
        self, arguments: list[str], prog_name: str | None, output: Output, extra: dict[str, Any]
    ) -> int:
        try:
            code = super().main(arguments, prog_name, standalone_mode=False, obj=output, **extra)
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            return _fail(error, output, arguments)
        return code if isinstance(code, int) else 0  # click gives the code of `ctx.exit`


def _fail(error: BaseException, output: Output, arguments: list[str]) -> int:
    if output.debug:
        import traceback

        traceback.print_exception(error)
    failure = failure_of(error, arguments)
    output.report(failure.diagnostics)
    if output.as_json:
        output.document(failure.details)
    return failure.exit_code


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        output: Output = ctx.obj
        output.result(f"mkb, version {__version__}", {"version": __version__})
        ctx.exit()


@click.group(
    "mkb",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@common
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Compile workflows of models and tools, see what was decided and why, and run them."""
    output: Output = ctx.obj
    if ctx.invoked_subcommand is not None:
        return
    if output.as_json:
        raise click.UsageError("no command is given", ctx)
    output.aside(ctx.get_help())
    ctx.exit(INPUT_WRONG)
