"""Getting the plan that a command line names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import request
from .output import Output, read_input

if TYPE_CHECKING:
    from ..targets.plan import Plan


def load_plan(name: str, output: Output) -> Plan:
    """Read and validate a plan (`-` is stdin); InputError says what is wrong with it."""
    from ..targets.plan import plan_from_json

    return plan_from_json(read_input(name, output), name)


def plan_of(name: str, output: Output, flags: Mapping[str, Any]) -> Plan:
    """Return a plan read from its file, or made from a `.mkb` file with the flags of `compile`."""
    if not name.endswith(".mkb"):
        return load_plan(name, output)
    from ..compiler.driver import compile_workflow

    compiled = compile_workflow(request(Path(name), flags), sources=output.sources)
    output.report(compiled.warnings)
    return compiled.plan
