"""The targets: one module and one line each."""

from __future__ import annotations

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from . import local, sim, vllm
from .target import Target

TARGETS: dict[str, Target] = {t.name: t for t in (local.TARGET, vllm.TARGET, sim.TARGET)}


def target_named(name: str) -> Target:
    """Return a target; InputError with the nearest name where there is none."""
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        raise InputError(
            Diagnostic(
                "unknown-target",
                f"no target is named `{name}`",
                help=did_you_mean(name, TARGETS) or f"there are {known}",
            )
        )
    return TARGETS[name]
