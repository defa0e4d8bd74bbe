"""What decides a workflow's results, and whether profiles are of what it is now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace

from ..ir.diagnostics import Diagnostic
from ..ir.printer import print_module
from ..ir.workflow import Module
from ..targets.workflow_profiles import WorkflowProfiles

_DIGITS = 8
_STATED = re.compile(rf"workflow ([0-9a-f]{{{_DIGITS}}})$")


def program_digest(flow: Module) -> str:
    """Return the SHA-256 of what decides results: neither places nor goals nor requirements."""
    asked = replace(flow.sole(), goals=(), requirements=(), expectations=())
    text = print_module(flow.with_workflow(asked), brief=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stated_program(digest: str) -> str:
    """Return how the source of a profile's row names the program that was measured."""
    return f"workflow {digest[:_DIGITS]}"


def outdated(flow: Module, profiles: WorkflowProfiles) -> Iterator[Diagnostic]:
    """Yield a warning where a workflow is not what its profile was measured with.

    Rows whose source does not name a program are taken at their word.
    """
    name = flow.sole().name
    now = program_digest(flow)[:_DIGITS]
    for row in profiles.of(name):
        stated = _STATED.search(row.source)
        if stated is not None and stated[1] != now:
            message = f"workflow `{name}` has changed since this profile was measured"
            hint = "measure it again with `mkb evaluate`"
            place = row.places.get("source")
            yield Diagnostic("outdated-profile", message, place, "warning", help=hint)
            return
