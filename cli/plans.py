"""Reading a plan that a command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import Output, read_input

if TYPE_CHECKING:
    from ..targets.plan import Plan


def load_plan(name: str, output: Output) -> Plan:
    """Read and validate a plan (`-` is stdin); InputError says what is wrong with it."""
    from ..targets.plan import plan_from_json

    return plan_from_json(read_input(name, output), name)
