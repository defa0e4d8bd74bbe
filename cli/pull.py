"""`mkb pull`: fetch the models of a plan ahead of time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError
from . import figures
from .failures import FailedFetch
from .options import common, compile_flags
from .output import Output
from .plans import models_needed, plan_of

if TYPE_CHECKING:
    from ..runtime.weights import ModelNeed


@dataclass(frozen=True, slots=True)
class _Row:
    """What became of a model; `fetched_bytes` are those to be fetched in a dry run."""

    need: ModelNeed
    commit: str | None
    path: Path | None
    bytes: int
    fetched_bytes: int

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` says of it."""
        return {
            "model": self.need.model,
            "revision": self.need.revision,
            "commit": self.commit,
            "executor": self.need.executor,
            "path": None if self.path is None else str(self.path),
            "bytes": self.bytes,
            "fetched_bytes": self.fetched_bytes,
        }

    def line(self, verb: str) -> str:
        """Return what the terminal says of it."""
        at = f" at `{self.commit[:12]}`" if self.commit is not None else ""
        new = f", {figures.size(self.fetched_bytes)} {verb}" if self.fetched_bytes else ""
        where = "" if self.need.is_folder or self.path is None else f", in {self.path}"
        return f"`{self.need.model}`{at}: {figures.size(self.bytes)}{new}{where}"


@click.command
@click.argument("file", metavar="PLAN|FILE.mkb")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched; fetch nothing.")
@compile_flags
@common
@click.pass_obj
def command(output: Output, /, file: str, dry_run: bool, **flags: Any) -> None:
    """Fetch the models of a plan ahead of time.

    Models on a hub come into the cache of `huggingface_hub`, of which `HF_HOME`, `HF_ENDPOINT`,
    `HF_TOKEN` and `HF_HUB_OFFLINE` say more: weights in safetensors, configuration and tokenizer.
    Models in folders are checked to be whole. What runs at an endpoint needs nothing.
    """
    plan = plan_of(file, output, flags, of_plans=("--library",))
    needs = models_needed(plan, flags["libraries"])
    quiet = output.as_json or not sys.stderr.isatty()
    work = _looked_up if dry_run else lambda need: _fetched(need, quiet)
    rows, failures = _all(needs, work)
    document = {"models": [row.as_dict() for row in rows], "dry_run": dry_run}
    if failures:
        for row in rows:
            output.aside(row.line("fetched"))
        raise FailedFetch(failures, document)
    lines = [row.line("to fetch" if dry_run else "fetched") for row in rows]
    output.result("\n".join(lines) or "the plan has no models to fetch", document)


def _all(
    needs: tuple[ModelNeed, ...], work: Callable[[ModelNeed], _Row]
) -> tuple[list[_Row], list[Diagnostic]]:
    """Look after every model; one that cannot be had does not keep the others from coming."""
    from ..runtime.hub import FetchFailed

    folders = [_whole(need) for need in needs if need.is_folder]
    rows, failures = folders, []
    for need in needs:
        if need.is_folder:
            continue
        try:
            rows.append(work(need))
        except FetchFailed as failed:
            message = f"{failed.message} (executor `{need.executor}`)"
            failures.append(Diagnostic("fetch-failed", message, help=failed.help))
    return rows, failures


def _whole(need: ModelNeed) -> _Row:
    from ..runtime.weights import folder_bytes

    folder = whole_folder(need.model, need.executor)
    return _Row(need, None, folder, folder_bytes(folder), 0)


def whole_folder(location: str, executor: str) -> Path:
    """Return an executor's model folder; `InputError` says what it lacks."""
    from ..runtime.weights import missing_parts

    folder = Path(location)
    missing = missing_parts(folder) if folder.is_dir() else ["the folder itself"]
    if missing:
        message = f"model `{folder}` lacks {', '.join(missing)} (executor `{executor}`)"
        hint = "a model folder holds what `save_pretrained` writes, as the hub has it"
        raise InputError(Diagnostic("unusable-model", message, help=hint))
    return folder


def _fetched(need: ModelNeed, quiet: bool) -> _Row:
    from ..runtime.hub import fetch

    got = fetch(need.model, need.revision, quiet=quiet)
    return _Row(need, got.commit, got.folder, got.bytes, got.fetched_bytes)


def _looked_up(need: ModelNeed) -> _Row:
    from ..runtime.hub import FetchFailed, absent_bytes, cached, cached_folder, look_up

    try:
        listing = look_up(need.model, need.revision)
    except FetchFailed as failed:
        kept = cached(need.model, need.revision) if failed.unreachable else None
        if kept is None:
            raise
        return _Row(need, kept.commit, kept.folder, kept.bytes, 0)
    folder = cached_folder(need.model, listing.commit)
    return _Row(need, listing.commit, folder, listing.bytes, absent_bytes(listing))
