"""Every way to configure a workflow on a target, and a plan for one of them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..ir.diagnostics import Diagnostic, InputError, Span
from ..ir.workflow import Module, Workflow
from ..passes.base import Context
from ..passes.configurations import Configuration
from ..passes.formulate import variants
from ..passes.measured import choice_of, faults
from ..passes.pipeline import print_pipeline, run_pipeline
from ..passes.place import Place
from ..targets.lower import lower
from ..targets.plan import Plan
from ..targets.target import Target
from ..targets.workflow_profiles import (
    Choice,
    MeasuredConfiguration,
    WorkflowProfiles,
    load_configurations,
)
from .driver import Request, digests, environment, stage
from .program import program_digest

Setting = tuple[Configuration, ...]  # a configuration for each step, in the steps' order


@dataclass(frozen=True, slots=True)
class Space:
    """A workflow before hardware is chosen, and what each of its steps can be.

    `choices` are the configurations of each step that have a place on the target, the reference's
    first. `program` is a digest of what decides results: neither places nor goals. `digests` are
    those of its plans.
    """

    flow: Module
    logical: Module
    target: Target
    context: Context
    steps: tuple[str, ...]
    choices: tuple[Setting, ...]
    program: str
    digests: Mapping[str, str]

    @property
    def workflow(self) -> Workflow:
        """The workflow as written."""
        return self.flow.sole()

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return math.prod(map(len, self.choices))

    def settings(self, limit: int, seed: int) -> list[Setting]:
        """Return the reference configuration and others up to `limit`: all, or as chance has it."""
        if self.size <= limit:
            return list(itertools.product(*self.choices))
        draw = random.Random(seed)
        found = {tuple(own[0] for own in self.choices): None}
        while len(found) < limit:
            found[tuple(draw.choice(own) for own in self.choices)] = None
        return list(found)

    def listed(self, path: Path) -> list[Setting]:
        """Return the configurations that a file lists, by the columns of workflow profiles.

        Raises InputError with every one that cannot be.
        """
        profiles = load_configurations(path)
        found = list(faults(profiles, self.workflow, self.context.library))
        rows = profiles.of(self.workflow.name)
        if not rows:
            message = f"`{path}` lists no configuration of workflow `{self.workflow.name}`"
            found.append(Diagnostic("bad-profile", message, Span(str(path), 1, 1, 1, 2)))
        settings = []
        for row in rows if not found else ():
            setting = self._setting(row)
            if isinstance(setting, Diagnostic):
                found.append(setting)
            else:
                settings.append(setting)
        if found:
            raise InputError(found)
        return settings

    def _setting(self, row: MeasuredConfiguration) -> Setting | Diagnostic:
        known = dict(row.choices)
        setting = []
        for step, own in zip(self.steps, self.choices, strict=True):
            able = [c for c in own if choice_of(c) == known.get(step, choice_of(own[0]))]
            if step not in known and len(own) > 1:
                message = f"the row does not say how step `{step}` is done"
                return Diagnostic("bad-profile", message, row.places["workflow"])
            if not able:
                message = f"step `{step}` cannot be done like this on target `{self.target.name}`"
                listed = ", ".join(f"`{c.label}`" for c in own)
                place = row.places[f"{step}.executor"]
                return Diagnostic("bad-profile", message, place, help=f"there are {listed}")
            setting.append(able[0])
        return tuple(setting)

    def named(self, setting: Setting) -> tuple[tuple[str, Choice], ...]:
        """Return a configuration in the form in which profiles have it."""
        return tuple(zip(self.steps, map(choice_of, setting), strict=True))

    def key(self, setting: Setting) -> str:
        """Return a configuration in one line, every step of it: no two have the same."""
        parts = zip(self.steps, setting, strict=True)
        return ", ".join(f"{step}: {choice.label}" for step, choice in parts)

    def label(self, setting: Setting) -> str:
        """Return a configuration in one line: steps and what they are, those with a choice."""
        parts = [
            f"{step}: {choice.label}"
            for step, choice, own in zip(self.steps, setting, self.choices, strict=True)
            if len(own) > 1
        ]
        return ", ".join(parts) or "the only configuration"


def configuration_space(request: Request, sources: dict[str, str]) -> Space:
    """Return the configurations of a workflow, requirements and expected rates left aside.

    They say what a service must achieve, not how good a configuration is. `sources` receives the
    texts of the files read. Raises CompileError and InputError as compiling does.
    """
    flow, logical = (_without_demands(stage(request, name, None, sources)) for name in _STAGES)
    target, context = environment(request)
    context = replace(context, measured=WorkflowProfiles())
    steps, found = variants(logical, context)
    placeable = [{way.configuration for way in listed} for listed in found]
    choices = tuple(
        tuple(c for c in step.configurations if c in own)
        for step, own in zip(steps, placeable, strict=True)
    )
    return Space(
        flow,
        logical,
        target,
        context,
        tuple(step.op.out().name for step in steps),
        choices,
        program_digest(flow),
        digests(sources, context),
    )


_STAGES = ("flow", "fused")


def _without_demands(module: Module) -> Module:
    workflow = module.sole()
    kept = tuple(e for e in workflow.expectations if e.fact != "rate")
    return module.with_workflow(replace(workflow, requirements=(), expectations=kept))


def plan_of(space: Space, setting: Setting) -> Plan:
    """Return a plan that carries out one configuration; CompileError where it has no place.

    The configuration is the only one that `place` may take: the one row of a table.
    """
    row = MeasuredConfiguration(space.workflow.name, space.named(setting), 1.0, 1)
    context = replace(space.context, measured=WorkflowProfiles((row,)))
    passes = (Place(),)
    placed = run_pipeline(space.logical, passes, context)
    return lower(
        placed,
        space.target,
        context.cluster,
        flow=space.flow,
        pipeline=print_pipeline(passes),
        baseline=None,
        alternatives={},
        digests=space.digests,
        notes=(),
    )
