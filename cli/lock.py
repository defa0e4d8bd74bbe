"""`mkb lock`: write down which versions of its models a workflow uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError
from .failures import FailedFetch
from .options import common, compile_flags
from .output import Output
from .plans import DIGESTS, plan_of

if TYPE_CHECKING:
    from ..runtime.weights import Digests
    from ..targets.library import Executor
    from ..targets.lock_file import LockedModel


@click.command
@click.argument("file", metavar="FILE.mkb", type=click.Path(path_type=Path))
@compile_flags
@common
@click.pass_obj
def command(output: Output, /, file: Path, **flags: Any) -> None:
    """Write down which versions of its models a workflow uses.

    Compiles FILE.mkb, and writes FILE.lock beside it: for each model that its plan loads, the
    commit on the hub and the SHA-256 digests of its weights, from what is on this machine or else
    from the hub. From then on, plans of the workflow name these commits, and `mkb run` refuses
    other weights.
    """
    from ..runtime.binding import plan_executors
    from ..runtime.weights import Digests
    from ..targets.library import load_library
    from ..targets.lock_file import Lock, lock_path

    if file.suffix != ".mkb":
        message = f"`{file}` is no workflow: a lock stands beside a `.mkb` file"
        raise InputError(Diagnostic("usage", message))
    plan = plan_of(str(file), output, {**flags, "locked": False})
    library = load_library(flags["libraries"])
    executors = plan_executors(plan, library)
    digests = Digests(DIGESTS)
    models: dict[tuple[str, str | None], LockedModel] = {}
    failures: list[Diagnostic] = []
    for name in sorted({engine.executor for engine in plan.engines if engine.loads_model}):
        try:
            found = _locked(executors[name], file.parent, digests)
        except FailedFetch as failed:
            failures += failed.diagnostics
        else:
            models[found.model, found.asked] = found
    if failures:
        raise FailedFetch(failures)
    lock, path = Lock(library.digest, tuple(models.values())), lock_path(file)
    output.write(str(path), lock.to_json())
    lines = [f"`{m.model}` {_at(m)}, {_files(len(m.files))}" for m in models.values()]
    lines = lines or ["the plan loads no models"]
    rows = [{"model": m.model, "asked": m.asked, "revision": m.revision} for m in models.values()]
    output.result("\n".join([*lines, f"wrote {path}"]), {"written": str(path), "models": rows})


def _at(model: LockedModel) -> str:
    return "as it is on disk" if model.revision is None else f"at `{model.revision[:12]}`"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _locked(executor: Executor, beside: Path, digests: Digests) -> LockedModel:
    from ..runtime.weights import folder_files
    from ..targets.lock_file import LockedModel, locked_name
    from ..targets.model_folder import is_folder, model_location
    from .pull import whole_folder

    named = locked_name(executor, beside)
    if is_folder(executor):
        folder = whole_folder(model_location(executor), executor.name)
        return LockedModel(named, None, None, digests.of_all(folder_files(folder)))
    commit, files = _of_the_hub(executor, digests)
    return LockedModel(named, executor.revision, commit, files)


def _of_the_hub(executor: Executor, digests: Digests) -> tuple[str, dict[str, str]]:
    """Return the commit and the digests of the weights: as they are here, or as the hub says."""
    from ..runtime.hub import FetchFailed, cached, fetch, look_up
    from ..runtime.weights import weight_files

    model, revision = executor.model or "", executor.revision
    try:
        here = cached(model, revision)
        if here is None:
            listing = look_up(model, revision)
            said = {n: f.sha256 for n, f in listing.files.items() if n.endswith(".safetensors")}
            known = {name: sha256 for name, sha256 in said.items() if sha256 is not None}
            if known == said:
                return listing.commit, known
            here = fetch(model, revision, quiet=True)  # weights so small that the hub has no digest
    except FetchFailed as failed:
        message = f"{failed.message} (executor `{executor.name}`)"
        raise FailedFetch([Diagnostic("fetch-failed", message, help=failed.help)]) from None
    return here.commit, digests.of_all(weight_files(here.folder))
