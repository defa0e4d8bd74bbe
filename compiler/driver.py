"""The driver: strings parse, check, passes and lowering together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..ir.diagnostics import Diagnostic
from ..ir.workflow import Module
from ..passes.base import Context, Observer
from ..targets.plan import Plan


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile, for what, and how; the fields are the flags of `mkb compile`.

    `source` is a file, or the program itself as text. `minimize` and `require` come before and in
    addition to what the file says. `passes` overrides the pipeline of `level`.
    """

    source: Path | str
    workflow: str | None = None
    target: str = "local"
    cluster: Path | None = None
    libraries: tuple[Path, ...] = ()
    profiles: tuple[Path, ...] = ()
    level: int = 2
    sequential: bool = False
    passes: str | None = None
    minimize: str | None = None
    require: tuple[str, ...] = ()
    effort: float = 10.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """A finished compilation: the flow IR, the placed module, its plan, and the warnings."""

    flow: Module
    placed: Module
    plan: Plan
    context: Context
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]


STAGES = ("flow", "logical", "fused", "placed")


def compile_workflow(request: Request, observe: Observer | None = None) -> Compiled:
    """Compile to a plan; CompileError for the author's faults, InputError for unusable inputs."""
    raise NotImplementedError


def stage(request: Request, emit: str, observe: Observer | None = None) -> Module:
    """Return the module as it is after one of STAGES, without doing what comes after."""
    raise NotImplementedError


def environment(request: Request) -> Context:
    """Load the library, cluster and profiles that a request names."""
    raise NotImplementedError
