"""What a result is kept under: a digest of everything that decides it.

What is left out here and decides a result would make the cache give wrong answers; what is in and
does not matter only costs hits. These are in, for the reasons given:

* the version of Murakkab, since it writes the prompts, reads the answers and ships executors, and
  of Python and the packages that an executor needs or comes from: its code runs in them
* the executor's name, and its digest, which covers its model, prompts, decisive settings and code
* all settings of the executor and knobs of the step, since a function gets every one of them
* which model answers: the address and name of one at an endpoint; of one that is loaded here the
  files of its folder by size and time, or the commit on the hub
* the whole task but where it stands: prompt, system, description, types, binding
* the names that the executor knows the arguments by, and each argument by its content
* of a sampled call also its place in the run: two draws from one prompt are two draws

Left out are hardware, degrees of parallelism, batches and engines, since a plan may choose them
freely: any of its answers is as good as another. So is the time: a model behind an endpoint that
changes under its name, or a module that a function's file imports, is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ...ir.diagnostics import InputError
from ...ir.types import Base, ListOf, Option, Record, Type
from ...targets.endpoint import base_url
from ...targets.library import ENTRY_POINTS, Executor
from ...targets.model_folder import LOADING_RUNNERS, is_folder, model_location
from ...targets.plan import EnginePlan
from ..errors import CallFailed
from ..journal.codec import can_be_kept
from ..messages import Submit
from ..program import Step
from ..serving.endpoint import attached
from ..values import canonical, digest, encode

_FORM = "murakkab/result/1"
_ASKED_TO_WRITE = ("vllm", "openai")  # runners of models that may sample what they write
_NEVER_SAMPLED = ("embed", "rank", "search")  # interfaces for which such a model writes nothing


class Unkeyed(Exception):
    """Not everything that decides a result can be told; the call is not cached."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What calls meet in a run: engines and executors by name, and where servers are.

    `endpoints` are the addresses that the run was told, by engine or executor; `environ` is where
    an executor's settings may name the variable with one.
    """

    engines: Mapping[str, EnginePlan]
    executors: Mapping[str, Executor]
    endpoints: Mapping[str, str]
    environ: Mapping[str, str]


class Keys:
    """Makes the keys of one run's calls. `wanted` is for its event loop, `of` for any thread."""

    def __init__(self, surroundings: Surroundings, *, sampled: bool) -> None:
        """Take what calls meet; `sampled` results have keys only where that is asked for."""
        self._surroundings = surroundings
        self._sampled = sampled
        self._wanted: dict[str, bool] = {}
        self._steps: dict[str, str] = {}  # digests of what all calls of a step have in common

    def wanted(self, call: Submit) -> bool:
        """Tell whether a call's result may be kept: no effect, no value without a form, no draw.

        Neither is an answer that goes on behind items of an earlier attempt.
        """
        if call.given:
            return False
        name = call.step.name
        if name not in self._wanted:
            self._wanted[name] = self._cacheable(call.step)
        return self._wanted[name]

    def of(self, call: Submit) -> str:
        """Return the key of a call that is wanted.

        Raises `Unkeyed`, or `OSError` where a medium cannot be read.
        """
        step = call.step
        common = self._steps.get(step.name)
        if common is None:
            common = self._steps[step.name] = _digest(self._decisive(step))
        kinds = [param.type for param in step.task.params]
        parts = [common, *(_content(k, v) for k, v in zip(kinds, call.args, strict=True))]
        if is_sampled(step, self._surroundings.executors[step.executor or ""]):
            parts.append(call.instance)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def _cacheable(self, step: Step) -> bool:
        executor = self._surroundings.executors.get(step.executor or "")
        if executor is None or step.task.effect:
            return False
        kinds = (step.task.result, *(param.type for param in step.task.params))
        if not all(map(can_be_kept, kinds)):
            return False
        return self._sampled or not is_sampled(step, executor)

    def _decisive(self, step: Step) -> dict[str, Any]:
        executor = self._surroundings.executors[step.executor or ""]
        task = step.task
        return {
            "form": _FORM,
            "murakkab": _version(),
            "python": platform.python_version(),
            "packages": _packages(executor),
            "executor": [executor.name, executor.runner, executor.digest],
            "settings": dict(executor.settings),
            "model": [executor.model, executor.revision, self._model(step, executor)],
            "knobs": dict(step.knobs),
            "task": {
                "name": task.name,
                "description": task.description,
                "system": task.system,
                "prompt": task.prompt,
                "using": task.using,
                "interface": task.interface,
                "binding": task.binding,
                "scored": task.scored,
                "answers": task.answers,
                "params": [(param.name, str(param.type)) for param in task.params],
                "result": str(task.result),
            },
            "params": step.params,
        }

    def _model(self, step: Step, executor: Executor) -> Any:
        """Return which model answers a step's calls, beyond what its name and revision say."""
        engine = self._surroundings.engines.get(step.engine or "")
        if engine is None or executor.model is None:
            return None
        endpoints = self._surroundings.endpoints
        told = endpoints.get(engine.name, endpoints.get(engine.executor))
        if told is not None:
            return [base_url(told), engine.endpoint and engine.endpoint.model]
        if engine.endpoint is not None or engine.runner == "openai":
            try:
                where = attached(engine, executor, self._surroundings.environ)
            except CallFailed as error:
                raise Unkeyed(error.message) from error
            return [where.url, where.model]
        return _loaded(executor) if engine.runner in LOADING_RUNNERS else None


def is_sampled(step: Step, executor: Executor) -> bool:
    """Tell whether a result is a draw: at a temperature above 0, or at one that nobody states."""
    temperature = step.knobs.get("temperature", dict(executor.settings).get("temperature"))
    if temperature is not None:
        return temperature != 0
    if executor.runner not in _ASKED_TO_WRITE:
        return False
    prompted = step.task.prompt is not None or executor.prompt is not None
    return prompted or executor.interface not in _NEVER_SAMPLED


def _loaded(executor: Executor) -> Any:
    """Return what tells the files of a model on this machine from others."""
    from ..hub import cached_folder
    from ..weights import folder_files

    if is_folder(executor):
        files = folder_files(Path(model_location(executor)))
        stats = {name: path.stat() for name, path in files.items()}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in sorted(stats.items())}
    try:
        folder = cached_folder(executor.model or "", executor.revision)
    except InputError as error:  # without the hub's client
        raise Unkeyed(error.diagnostics[0].message) from error
    if folder is None:
        raise Unkeyed(f"`{executor.model}` is not in the hub's cache")
    return folder.name  # the commit


def _version() -> str:
    try:
        return metadata.version("murakkab")
    except metadata.PackageNotFoundError as error:
        raise Unkeyed("Murakkab is not installed as a package") from error


def _packages(executor: Executor) -> list[tuple[str, str]]:
    """Return the versions of the packages that an executor's code needs, and comes from."""
    found: set[tuple[str, str]] = set()
    for module in executor.requires:
        top = module.partition(".")[0]
        found.update((name, metadata.version(name)) for name in _distributions(top))
    if executor.runner == "python" and executor.file is None:
        for point in metadata.entry_points(group=ENTRY_POINTS, name=executor.entry or ""):
            if point.dist is not None:
                found.add((point.dist.name, point.dist.version))
    return sorted(found)


def _distributions(module: str) -> list[str]:
    """Return the distributions that a module is from.

    The one of its name is tried first: to look through all that are installed may take seconds.
    """
    try:
        files = metadata.distribution(module).files or []
    except metadata.PackageNotFoundError:
        files = []
    if any(file.parts[0].partition(".")[0] == module for file in files):
        return [module]
    return list(_owners().get(module, []))


@cache
def _owners() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _content(kind: Type, value: Any) -> str:
    """Return the digest of an argument by content.

    Json may look like a medium, of which the path does not count: there, everything counts.
    """
    if _holds_json(kind):
        return hashlib.sha256(canonical(encode(value)).encode()).hexdigest()
    return digest(value)


def _holds_json(kind: Type) -> bool:
    match kind:
        case Base(name):
            return name == "Json"
        case Option(item) | ListOf(item):
            return _holds_json(item)
        case Record(fields):
            return any(_holds_json(item) for _, item in fields)
    return False


def _digest(parts: Mapping[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()
