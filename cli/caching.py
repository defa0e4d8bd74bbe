"""Where a run keeps results for later runs, as a command line says it: `--cache`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bounds import quantity_of_flag
from .options import together

if TYPE_CHECKING:
    from ..runtime.cache.recalling import Cache
    from .output import Output

_FOLDER: click.ParamType[Path] = click.Path(path_type=Path)

cache_flags = together(
    click.option(
        "--cache", "folder", metavar="DIR", type=_FOLDER, help="Keep results here for later runs."
    ),
    click.option("--cache-size", metavar="S", help='Keep at most this much: "10 GB" (default).'),
    click.option("--cache-sampled", is_flag=True, help="Keep what models draw by chance too."),
)


def cache(folder: Path | None, size: str | None, output: Output, *, sampled: bool) -> Cache | None:
    """Return the cache that the flags state; raises click's usage errors."""
    if folder is None:
        if size is not None or sampled:
            flag = "--cache-sampled" if sampled else "--cache-size"
            raise click.UsageError(f"`{flag}` goes with `--cache`")
        return None
    from ..runtime.cache.recalling import DEFAULT_BYTES, Cache

    most = float(DEFAULT_BYTES)
    if size is not None:
        units = {"bytes": "bytes"}
        _, most = quantity_of_flag("--cache-size", size, units, "`500 MB`, `10 GB`")
    return Cache(folder, int(most), sampled, output.aside)
