"""From the name in a library entry to the Python function: the only place that imports by name.

A name is one of the shipped executors, or an entry point (group `murakkab.executors`) of an
installed package; with a file it is a function in that file, which the user has named with
`--library`. A metric is what the user has named with `--metric`. Nothing else is ever imported,
whatever a plan says.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CallFailed

if TYPE_CHECKING:
    from ..targets.library import Executor

GROUP = "murakkab.executors"
Source = tuple[str, str | None]  # the entry's name, and the file it stands in

_SHIPPED = {
    "answer": "answering",
    "classify": "similarity",
    "detect_objects": "people",
    "embed": "similarity",
    "extract": "extraction",
    "rank": "similarity",
    "read_text": "ocr",
    "run_tests": "sandbox",
    "sample_frames": "frames",
    "search": "similarity",
    "split_scenes": "scenes",
    "summarize": "summary",
    "transcribe": "speech",
    "transcribe_audio": "speech",
    "webhook": "webhook",
}


def source_of(executor: Executor) -> Source:
    """Return where a `python` executor's function is; its file is beside the library it is in."""
    name = executor.entry or executor.name
    if executor.file is None:
        return name, None
    beside = Path(executor.loc.file).parent if executor.loc is not None else Path()
    return name, str((beside / executor.file).absolute())


def load(source: Source) -> Callable[..., Any]:
    """Import and return the function; raises `CallFailed` saying what is missing."""
    name, file = source
    try:
        found = _from_file(name, file) if file is not None else _by_name(name)
    except CallFailed:
        raise
    except BaseException as error:  # importing runs code that we have not written
        raise CallFailed(f"its code `{name}` cannot be imported: {told(error)}") from error
    if not callable(found):
        raise CallFailed(f"its entry `{name}` is not a function")
    return found  # type: ignore[no-any-return]


def load_stated(module: str, name: str) -> Callable[..., Any]:
    """Import a function that the command line names: of a `.py` file, or a module to be found.

    Raises `CallFailed` saying what is missing.
    """
    if module.endswith(".py"):
        return load((name, module))
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # importing runs code that we have not written
        raise CallFailed(f"module `{module}` cannot be imported: {told(error)}") from error
    if not callable(found):
        raise CallFailed(f"module `{module}` has no function `{name}`")
    return found  # type: ignore[no-any-return]


def _by_name(name: str) -> Any:
    if name in _SHIPPED:
        module = importlib.import_module(f".executors.{_SHIPPED[name]}", __package__)
        return getattr(module, name)
    from importlib.metadata import entry_points  # 8 ms that shipped executors and files do without

    for entry in entry_points(group=GROUP, name=name):
        return entry.load()
    raise CallFailed(
        f"no installed package has an entry point `{name}` in group `{GROUP}`;"
        " install the package that brings it"
    )


def _from_file(name: str, file: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"murakkab_user_{Path(file).stem}", file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise CallFailed(f"`{file}` is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CallFailed(f"`{file}` cannot be loaded: {told(error)}") from error
    if not hasattr(module, name):
        raise CallFailed(f"`{file}` has no function `{name}`")
    return getattr(module, name)


def told(error: BaseException) -> str:
    """Return an exception as its type and message."""
    try:
        text = str(error)
    except Exception:  # of its own making
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
