"""Murakkab: an optimising compiler and thin runtime for compound-AI workflows."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import Run, aresume, arun, compile, resume, run
    from .ir.diagnostics import CompileError, InputError
    from .targets.plan import Plan

__version__ = "0.1.0"

# where a public name is found; they are imported when they are first used, so that importing the
# package costs nothing
_HOMES = {
    "CompileError": "ir.diagnostics",
    "InputError": "ir.diagnostics",
    "Plan": "targets.plan",
    "Run": "api",
    "aresume": "api",
    "arun": "api",
    "compile": "api",
    "resume": "api",
    "run": "api",
}

__all__ = [
    "CompileError",
    "InputError",
    "Plan",
    "Run",
    "aresume",
    "arun",
    "compile",
    "resume",
    "run",
]

if not TYPE_CHECKING:  # or type checkers would take any name for granted

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name not in _HOMES:
            raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
