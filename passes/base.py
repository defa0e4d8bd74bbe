"""What a pass is: a frozen dataclass whose fields are its options, and a function of the module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from ..ir.diagnostics import Span
from ..ir.ops import LEVELS, Attr, Level
from ..ir.printer import attr_text
from ..ir.remarks import Remark, Reporter, Tell
from ..ir.workflow import Module, Task
from ..targets.cluster import Cluster
from ..targets.cost import CostModel
from ..targets.library import Executor, Library
from ..targets.workflow_profiles import WorkflowProfiles

if TYPE_CHECKING:
    from .formulate import Formulation
    from .job.problem import Placement


@dataclass(frozen=True, slots=True)
class Context:
    """What passes may ask about the world; nothing in it changes while a pipeline runs.

    interfaces: the operator interfaces of the standard library, as tasks. runners: what the target
    can run. missing: executors that are not installed where the target runs, and why. effort: the
    solver's deterministic time, in OR-Tools' units (about a second each). decided: is told what was
    decided and between what, for whoever wants to explain it. measured: how configurations of
    whole workflows were found to score. remarked: is told what passes did and refused to do.
    """

    interfaces: tuple[Task, ...]
    library: Library
    cluster: Cluster
    costs: CostModel
    runners: frozenset[str]
    missing: Mapping[str, str] = field(default_factory=dict)
    effort: float = 10.0
    decided: Callable[[Formulation, Placement], None] | None = None
    measured: WorkflowProfiles = field(default_factory=WorkflowProfiles)
    remarked: Tell | None = None

    def offers(self, executor: Executor) -> bool:
        """Tell whether the target has the executor's runner and what it needs installed."""
        return executor.runner in self.runners and executor.name not in self.missing

    def reporter(self, step: Pass) -> Reporter:
        """Return what a pass says with what it did, and what it refused to do."""
        return Reporter(step.name, self.remarked)

    def quiet(self) -> Context:
        """Return the context for rewrites that are tried out, of which nothing is said."""
        return replace(self, remarked=None)

    def interface(self, name: str) -> Task | None:
        """Return an operator interface by name."""
        return next((task for task in self.interfaces if task.name == name), None)


@dataclass(frozen=True)
class Pass:
    """Base of all passes. Subclasses add option fields, one file and one registry line each.

    A pass takes a module that holds one workflow and returns a new one; it keeps no state, checks
    nothing that the verifier checks, and raises CompileError only for what the author must mend.
    """

    name: ClassVar[str]
    needs: ClassVar[Level] = "flow"

    def run(self, module: Module, context: Context) -> Module:
        """Return the rewritten module."""
        raise TypeError(f"{type(self).__name__} does not say what it does")

    def __str__(self) -> str:
        """Return the pass as a pipeline writes it, with the options that are not the defaults."""
        given: list[tuple[str, Attr]] = [
            (f.name, getattr(self, f.name))
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        options = ", ".join(f"{key}={attr_text(value)}" for key, value in given)
        return self.name + (f"{{{options}}}" if options else "")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rewrite of a logical module whose worth only placement can tell: `choose` decides.

    `name` is what it does, as a note of the plan says it; `locs` are where in the source. A
    `last_resort` costs what predictions do not show: it is only for requirements that nothing else
    meets.
    """

    name: str
    locs: tuple[Span, ...]
    module: Module
    last_resort: bool = False


Proposer = Callable[[Module, Context], Iterable[Proposal]]


def level_reached(have: Level, needed: Level) -> bool:
    """Tell whether a module at level `have` may be given to a pass that needs `needed`."""
    return LEVELS.index(have) >= LEVELS.index(needed)


class Observer(Protocol):
    """The pipeline's single callback: called after each pass, with what it did and took."""

    def __call__(
        self,
        step: Pass,
        before: Module,
        after: Module,
        seconds: float,
        remarks: tuple[Remark, ...],
    ) -> None:
        """See one finished pass, and what it says that it did and did not do."""
