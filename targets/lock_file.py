"""The lock of a workflow: which commit and which bytes each of its models had when it was locked.

A lock stands beside its workflow, `ask.lock` beside `ask.mkb`, and is meant to be kept under
version control with it: it holds nothing of the machine that wrote it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..ir.diagnostics import Diagnostic, InputError
from .conformance import load_schema, violation
from .library import Executor, Library
from .model_folder import is_folder, model_location, names_folder
from .toml_source import MAX_BYTES

SCHEMA = "murakkab/lock/1"


@dataclass(frozen=True, slots=True)
class LockedModel:
    """A model as it was locked; `files` maps names within it to SHA-256 digests.

    `model` is its name on the hub, or its folder relative to the lock's, with `/` between parts.
    `asked` is the revision that the library names, and `revision` the commit that it was; a folder
    has neither.
    """

    model: str
    asked: str | None
    revision: str | None
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lock:
    """The models of a workflow; `library` is the digest of the executor library they came from."""

    library: str
    models: tuple[LockedModel, ...]

    def to_json(self) -> str:
        """Return the lock's only text form: sorted models and keys, and a final newline."""
        models = sorted(self.models, key=lambda m: (m.model, m.asked or ""))
        document = {"schema": SCHEMA, **asdict(replace(self, models=tuple(models)))}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def of(self, executor: Executor, beside: Path) -> LockedModel | None:
        """Return what is locked of an executor's model, if the lock still speaks of that one.

        `beside` is the lock's folder. An executor may ask for what was asked when it was locked, or
        for the very commit.
        """
        if executor.model is None:
            return None
        named, revision = locked_name(executor, beside), executor.revision
        return next(
            (m for m in self.models if m.model == named and revision in (m.asked, m.revision)),
            None,
        )


def lock_path(workflow: Path) -> Path:
    """Return where the lock of a workflow's file is."""
    return workflow.with_suffix(".lock")


def locked_name(executor: Executor, beside: Path) -> str:
    """Return what a lock in folder `beside` calls an executor's model."""
    location = model_location(executor)
    if not is_folder(executor):
        return location
    relative = Path(os.path.relpath(location, beside.absolute())).as_posix()
    return relative if names_folder(relative) else f"./{relative}"


def pinned(library: Library, lock: Lock, beside: Path) -> Library:
    """Return a library whose models are of the commits that a lock in folder `beside` names.

    Digests of executors stay: they say what the library asks for, and a plan has the commit beside.
    """
    return replace(library, executors=tuple(_pinned(e, lock, beside) for e in library.executors))


def _pinned(executor: Executor, lock: Lock, beside: Path) -> Executor:
    found = lock.of(executor, beside)
    if found is None or found.revision is None:
        return executor
    return replace(executor, revision=found.revision)


def stale(
    lock: Lock, path: Path, library: Library, executors: Iterable[Executor]
) -> tuple[Diagnostic, ...]:
    """Return warnings about a lock that was written for another library, or lacks a model.

    `executors` are those whose models are served.
    """
    said = []
    if lock.library != library.digest:
        said.append(f"the executor library has changed since `{path}` was written")
    missing = {
        executor.model: executor.revision
        for executor in executors
        if executor.model is not None and lock.of(executor, path.parent) is None
    }
    for model, revision in sorted(missing.items()):
        at = f" at revision `{revision}`" if revision is not None else ""
        said.append(f"`{path}` does not have model `{model}`{at}")
    hint = "`mkb lock` writes it again"
    return tuple(Diagnostic("stale-lock", what, severity="warning", help=hint) for what in said)


def load_lock(workflow: Path) -> Lock | None:
    """Read the lock beside a workflow's file, None where there is none.

    Raises `InputError` saying what is wrong with it.
    """
    path = lock_path(workflow)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, (error.strerror or str(error)).lower()) from None
    if len(content) > MAX_BYTES:
        raise _refused(path, f"it has more than {MAX_BYTES} bytes")
    return lock_from_json(content, path)


def lock_from_json(content: bytes, path: Path) -> Lock:
    """Read and validate a lock; raises `InputError` saying what is wrong with the document."""
    try:
        document = json.loads(content)
        wrong = violation(document, load_schema("lock"))
    except (ValueError, RecursionError):
        raise _refused(path, "it is not valid JSON") from None
    if wrong is not None:
        raise _refused(path, wrong)
    return Lock(document["library"], tuple(LockedModel(**model) for model in document["models"]))


def _refused(path: Path, why: str) -> InputError:
    hint = "`mkb lock` writes it anew"
    return InputError(Diagnostic("invalid-lock", f"cannot use lock `{path}`: {why}", help=hint))
