"""Getting the plan that a command line names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError
from .options import request, stated_flags
from .output import Output, read_input

if TYPE_CHECKING:
    from ..targets.plan import Plan


def load_plan(name: str, output: Output) -> Plan:
    """Read and validate a plan (`-` is stdin); InputError says what is wrong with it."""
    from ..targets.plan import plan_from_json

    return plan_from_json(read_input(name, output), name)


def plan_of(
    name: str, output: Output, flags: Mapping[str, Any], of_plans: Collection[str] = ()
) -> Plan:
    """Return a plan read from its file, or made from a `.mkb` file with the flags of `compile`.

    A plan is made already, so flags of `compile` other than `of_plans` are refused with one.
    """
    if not name.endswith(".mkb"):
        unused = [flag for flag in stated_flags(flags) if flag not in of_plans]
        if unused:
            raise _decided_already(name, unused)
        return load_plan(name, output)
    from ..compiler.driver import compile_workflow

    compiled = compile_workflow(request(Path(name), flags), sources=output.sources)
    output.report(compiled.warnings)
    return compiled.plan


def _decided_already(name: str, unused: list[str]) -> InputError:
    named = " and ".join(f"`{flag}`" for flag in unused)
    return InputError(
        Diagnostic(
            "usage",
            f"{named} cannot change a plan: what it says was decided when `{name}` was compiled",
            help="give the `.mkb` file, or compile it again with these flags",
        )
    )
