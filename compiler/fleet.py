"""The programs of a study, compiled as far as a service's planner needs them."""

from __future__ import annotations

from dataclasses import replace

from ..passes.fleet.program import Program
from ..targets.study import Study
from .driver import Request, environment, stage


def study_programs(study: Study, sources: dict[str, str]) -> dict[str, Program]:
    """Return the compiled workflows of a study, by name, for those that are programs.

    `sources` receives the texts of the files read. Raises `CompileError` for an author's faults.
    """
    found: dict[str, Program] = {}
    for workflow in study.workflows:
        if workflow.file is None:
            continue
        request = Request(
            source=workflow.file,
            target="sim",
            cluster=study.paths.cluster,
            libraries=study.paths.libraries,
            profiles=study.paths.profiles,
        )
        module = stage(request, "fused", sources=sources)
        _, context = environment(request)
        found[workflow.name] = Program(module, replace(context, cluster=study.cluster))
    return found
