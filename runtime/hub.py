"""The hub: what it says of a model, what of it is on this machine, and fetching the rest.

Where the cache is, which server is the hub, the token, and whether the network may be used is
`huggingface_hub`'s to decide, by the variables that it documents: `HF_HOME`, `HF_ENDPOINT`,
`HF_TOKEN`, `HF_HUB_OFFLINE`.
"""

from __future__ import annotations

import errno
import glob
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError
from .weights import folder_bytes, missing_parts, needed_files

_LOOK_UP_S = 30.0


class FetchFailed(Exception):
    """A model that could not be had, and why; `help` says what to do about it.

    `unreachable` tells that the hub was not asked, so that what is on this machine may do.
    """

    def __init__(self, message: str, help: str, *, unreachable: bool = False) -> None:
        """Keep the parts."""
        super().__init__(message)
        self.message = message
        self.help = help
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model on the hub; `sha256` is known of those it keeps apart as large."""

    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The needed files of a model on the hub, by name, at a commit."""

    model: str
    commit: str
    files: Mapping[str, HubFile]

    @property
    def bytes(self) -> int:
        """What all of them hold."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole model in the hub's cache: its folder, commit and bytes; `fetched_bytes` are new."""

    folder: Path
    commit: str
    bytes: int
    fetched_bytes: int = 0


def look_up(model: str, revision: str | None) -> Listing:
    """Ask the hub what a model has; `revision` None is its main branch.

    Raises `FetchFailed`, and `InputError` where the name cannot be that of a model.
    """
    hub = _hub()
    try:
        info = hub.HfApi().model_info(
            model, revision=revision, files_metadata=True, timeout=_LOOK_UP_S
        )
    except Exception as error:  # of any HTTP library that a version of the client uses
        raise _explained(error, model, revision) from error
    found = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    names = needed_files(found)
    if not any(name.endswith(".safetensors") for name in names):
        message = f"model `{model}` has no weights in `*.safetensors` on the hub"
        hint = "name a model that has: weights in other formats may run code when they are read"
        raise FetchFailed(message, hint)
    files = {name: _file(found[name]) for name in names}
    return Listing(model, str(info.sha), files)


def cached(model: str, revision: str | None) -> Snapshot | None:
    """Return a model from the hub's cache, if the whole of it is there; asks nobody."""
    folder = cached_folder(model, revision)
    try:
        if folder is None or missing_parts(folder):
            return None
        return Snapshot(folder, folder.name, folder_bytes(folder))
    except (InputError, OSError):
        return None  # it holds what is no model, or goes away: as good as nothing


def cached_folder(model: str, revision: str | None) -> Path | None:
    """Return where a model is in the hub's cache, whole or not; None where nothing of it is."""
    try:
        found = _hub().try_to_load_from_cache(model, "config.json", revision=revision)
    except ValueError:  # no name of a model
        return None
    return Path(found).parent if isinstance(found, str) else None


def absent_bytes(listing: Listing) -> int:
    """Return how much of a model is not in the cache."""
    hub = _hub()
    return sum(
        file.size
        for name, file in listing.files.items()
        if not isinstance(
            hub.try_to_load_from_cache(listing.model, name, revision=listing.commit), str
        )
    )


def fetch(model: str, revision: str | None, *, quiet: bool) -> Snapshot:
    """Fetch what is missing of a model; where the hub cannot be asked, the cache's whole one does.

    `quiet` shows no progress. Raises like `look_up`.
    """
    hub = _hub()
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
    try:
        listing = look_up(model, revision)
    except FetchFailed as failed:
        kept = cached(model, revision) if failed.unreachable else None
        if kept is None:
            raise
        return kept
    absent = absent_bytes(listing)
    try:
        # by the revision as asked, so that the cache knows what the name stands for
        folder = hub.snapshot_download(
            model, revision=revision, allow_patterns=[glob.escape(name) for name in listing.files]
        )
    except Exception as error:  # as above
        raise _explained(error, model, revision) from error
    return Snapshot(Path(folder), Path(folder).name, listing.bytes, absent)


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        message = "models of a hub need the package `huggingface_hub`, which is not installed"
        hint = "pip install 'murakkab[hub]'"
        raise InputError(Diagnostic("missing-package", message, help=hint)) from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its hints are not the user's
    return huggingface_hub


def _file(sibling: Any) -> HubFile:
    large = sibling.lfs
    return HubFile(sibling.size or 0, None if large is None else str(large.sha256))


def _explained(error: Exception, model: str, revision: str | None) -> Exception:
    """Return what an error of the client means to the user."""
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    if any(isinstance(e, OSError) and e.errno == errno.ENOSPC for e in _chain(error)):
        message = f"the disk is full: model `{model}` does not fit in {constants.HF_HUB_CACHE}"
        return FetchFailed(message, "free space, or set `HF_HOME` to a folder on a bigger disk")
    match error:
        case errors.HFValidationError():
            hint = "names are `owner/model`; folders begin with `./`, `../`, `/` or `~`"
            message = f"`{model}` cannot be the name of a model on the hub"
            return InputError(Diagnostic("unusable-model", message, help=hint))
        case errors.GatedRepoError():
            message = f"model `{model}` is gated: the hub wants its terms accepted"
            hint = f"accept them at {hub}/{model}, and set `HF_TOKEN` to a token of that account"
            return FetchFailed(message, hint)
        case errors.RepositoryNotFoundError():
            message = f"the hub at {hub} has no model `{model}`, or does not show it"
            return FetchFailed(message, "check its name; for a private one set `HF_TOKEN`")
        case errors.RevisionNotFoundError():
            message = f"model `{model}` has no revision `{revision}`"
            return FetchFailed(message, f"{hub}/{model}/commits lists them")
        case errors.OfflineModeIsEnabled():
            message = f"model `{model}` is not on this machine, or not all of it"
            hint = "`HF_HUB_OFFLINE` forbids fetching it: unset it, or bring the hub's cache along"
            return FetchFailed(message, hint, unreachable=True)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        message = f"the hub refuses model `{model}` (status {status})"
        return FetchFailed(message, "check `HF_TOKEN`: it may be wrong, too old, or lack the right")
    if status is not None:
        message = f"the hub at {hub} answers with status {status} for model `{model}`"
        return FetchFailed(message, "try again later", unreachable=int(status) >= 500)
    return _unreachable(error, model, hub)


def _unreachable(error: Exception, model: str, hub: str) -> FetchFailed:
    causes = list(_chain(error))
    reason = next((line for e in reversed(causes) if (line := str(e).strip())), "no answer")
    message = f"cannot fetch model `{model}` from {hub}: {reason.splitlines()[0][:200]}"
    hint = "check the network and `HF_ENDPOINT`, then repeat: what is there already stays"
    return FetchFailed(message, hint, unreachable=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    known: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in known:
        known.add(id(at))
        yield at
        at = at.__cause__ or at.__context__
