"""Getting the plan that a command line names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError
from .options import request, stated_flags
from .output import Output, read_input

if TYPE_CHECKING:
    from ..runtime.weights import ModelNeed
    from ..targets.library import Executor
    from ..targets.lock_file import LockedModel
    from ..targets.plan import Plan

DIGESTS = Path(".murakkab/digests.json")  # of weights, so that they are read once


def load_plan(name: str, output: Output) -> Plan:
    """Read and validate a plan (`-` is stdin); InputError says what is wrong with it."""
    return read_plan(read_input(name, output), name)


def read_plan(text: str, name: str) -> Plan:
    """Validate the text of a plan; InputError says what is wrong with it."""
    from ..targets.plan import plan_from_json
    from ..targets.service_plan import is_service_plan

    if is_service_plan(text):
        message = f"`{name}` is the plan of a service, for all requests of a day"
        hint = "`mkb explain` and `mkb compare` read it; to run a request, compile the workflow"
        raise InputError(Diagnostic("invalid-plan", message, help=hint))
    return plan_from_json(text, name)


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


def models_needed(plan: Plan, libraries: Sequence[Path]) -> tuple[ModelNeed, ...]:
    """Return the models that the plan's engines load; InputError where its executors are not had.

    `libraries` are the user's executor files.
    """
    from ..runtime.binding import plan_executors
    from ..runtime.weights import models_of
    from ..targets.library import load_named

    return models_of(plan, plan_executors(plan, load_named(plan.executors(), libraries)))


def refuse_changed_weights(name: str, plan: Plan, libraries: Sequence[Path]) -> None:
    """Raise InputError where models here are not those of the lock beside a `.mkb` file.

    A model of the hub that is not here yet is no fault: its server fetches the locked commit.
    """
    if not name.endswith(".mkb"):
        return
    from ..targets.lock_file import load_lock, lock_path

    lock = load_lock(Path(name))
    if lock is None:
        return
    from ..runtime.binding import plan_executors
    from ..targets.library import load_named

    path = lock_path(Path(name))
    executors = plan_executors(plan, load_named(plan.executors(), libraries))
    findings = []
    for user in sorted({engine.executor for engine in plan.engines if engine.loads_model}):
        locked = lock.of(executors[user], path.parent)
        changed = [] if locked is None else _changed(executors[user], locked)
        if locked is not None and changed:
            message = f"model `{locked.model}` is not what `{path}` was written for: {changed[0]}"
            hint = f"put its files back, or `mkb lock {name}` again if the change is meant"
            findings.append(Diagnostic("changed-weights", message, help=hint))
    if findings:
        raise InputError(list(dict.fromkeys(findings)))


def _changed(executor: Executor, locked: LockedModel) -> list[str]:
    """Return what differs between a model here and the lock, in words."""
    from ..runtime.hub import cached_folder
    from ..runtime.weights import Digests, folder_files, weight_files
    from ..targets.model_folder import is_folder, model_location

    location = model_location(executor)
    if is_folder(executor):
        paths = folder_files(Path(location))
        gone = [f"`{file}` is gone" for file in sorted(locked.files.keys() - paths.keys())]
    else:
        folder = cached_folder(location, locked.revision)
        paths, gone = {} if folder is None else weight_files(folder), []
    found = Digests(DIGESTS).of_all(paths)
    new = [f"`{file}` is new" for file in sorted(found.keys() - locked.files.keys())]
    other = [
        f"`{n}` has changed" for n in sorted(found) if locked.files.get(n, found[n]) != found[n]
    ]
    return [*other, *gone, *new]


def _decided_already(name: str, unused: list[str]) -> InputError:
    named = " and ".join(f"`{flag}`" for flag in unused)
    return InputError(
        Diagnostic(
            "usage",
            f"{named} cannot change a plan: what it says was decided when `{name}` was compiled",
            help="give the `.mkb` file, or compile it again with these flags",
        )
    )
