"""Calling an executor's Python function: which arguments it gets, and what its errors mean."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .entries import Source, load, told
from .errors import CallFailed
from .executors.errors import ExecutorError

# The keyword by which an effect that knows repetitions takes its key.
KEY = "idempotency_key"


class PythonFunction:
    """An executor's function, imported at its first call, with the keywords it accepts."""

    def __init__(self, source: Source) -> None:
        """Remember where the function is."""
        self.source = source
        self._function: Callable[..., Any] | None = None
        self._accepted: frozenset[str] | None = None  # None: any keyword
        self._settings: frozenset[str] = frozenset()  # keyword-only: knobs, never arguments

    def load(self) -> None:
        """Import the function; raises `CallFailed`."""
        function = load(self.source)
        self._accepted = _keywords(function)
        self._settings = _settings(function)
        self._function = function

    def prepare(self) -> None:
        """Import the function, and let its module load what every call needs.

        A module says how in a function `prepare()` of its own. Raises `CallFailed`.
        """
        self.load()
        module = sys.modules.get(getattr(self._function, "__module__", ""))
        prepare = getattr(module, "prepare", None)
        if not callable(prepare):
            return
        try:
            prepare()
        except BaseException as error:  # also `sys.exit()`
            raise CallFailed(f"cannot be made ready: {told(error)}") from error

    def __call__(self, arguments: Mapping[str, Any], knobs: Mapping[str, Any]) -> Any:
        """Call it with its parameters and the knobs it accepts; raises `CallFailed`."""
        if self._function is None:
            self.load()
        assert self._function is not None  # `load` set it
        clash = sorted(self._settings.intersection(arguments))
        if clash:
            message = f"`{clash[0]}` is a setting of its own; rename the task's parameter"
            raise CallFailed(message, untouched=True)
        extra = {name: value for name, value in knobs.items() if self._accepts(name)}
        try:
            return self._function(**{**extra, **arguments})
        except ExecutorError as error:
            raise CallFailed(
                error.message, retryable=error.retryable, untouched=error.untouched
            ) from error
        except ConnectionError as error:
            raise CallFailed(told(error), retryable=True) from error
        except ImportError as error:
            raise CallFailed(f"a package it needs is missing: {error}") from error
        except BaseException as error:  # also `sys.exit()`: it must not end a thread of ours
            raise CallFailed(f"raised {told(error)}{_where(error)}") from error

    def _accepts(self, knob: str) -> bool:
        """Tell whether the function takes a knob; a key is none of any `**fields`."""
        if self._accepted is None:
            return knob != KEY or knob in self._settings
        return knob in self._accepted


def _keywords(function: Callable[..., Any]) -> frozenset[str] | None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY)


def _settings(function: Callable[..., Any]) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _where(error: BaseException) -> str:
    """Return the line that raised an error, which is what the author of the function needs."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None:
        return ""
    return f" (at {place.tb_frame.f_code.co_filename}:{place.tb_lineno})"
