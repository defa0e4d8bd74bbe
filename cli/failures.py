"""The one place where exceptions become diagnostics and exit codes.

0 done, 1 the program is wrong or cannot be met, 2 the command line or an input is wrong, 3 the run
failed, 130 interrupted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from ..ir.diagnostics import CompileError, Diagnostic, InputError

PROGRAM_WRONG, INPUT_WRONG, RUN_FAILED, INTERRUPTED = 1, 2, 3, 130
_DOUBTS_SHOWN = 3
_WORLD = ("--target", "--cluster", "--library", "--profiles")


class UnusableInputs(Exception):
    """The inputs of a run do not fit the workflow: missing, unknown, or of another type."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Take every finding."""
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(d.message for d in self.diagnostics))


class FailedFetch(Exception):
    """Models that could not be had: why not, and what the JSON document tells of the others."""

    def __init__(
        self, diagnostics: Iterable[Diagnostic], details: Mapping[str, Any] | None = None
    ) -> None:
        """Take every finding."""
        self.diagnostics = tuple(diagnostics)
        self.details = details or {}
        super().__init__("\n".join(d.message for d in self.diagnostics))


class FailedMeasurement(Exception):
    """A measurement that broke off: why, and what the JSON document tells of what is done."""

    def __init__(self, diagnostic: Diagnostic, details: Mapping[str, Any]) -> None:
        """Take the finding."""
        self.diagnostics = (diagnostic,)
        self.details = details
        super().__init__(diagnostic.message)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command ended: exit code, what to say, and what else the JSON document holds."""

    exit_code: int
    diagnostics: tuple[Diagnostic, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


def failure_of(error: BaseException, arguments: Sequence[str] = ()) -> Failure:
    """Return what an exception means to the person at the terminal, who gave these arguments."""
    match error:
        case CompileError():
            return Failure(PROGRAM_WRONG, error.diagnostics)
        case InputError():
            return Failure(INPUT_WRONG, error.diagnostics)
        case UnusableInputs():
            return Failure(RUN_FAILED, error.diagnostics)
        case FailedFetch() | FailedMeasurement():
            return Failure(RUN_FAILED, error.diagnostics, error.details)
        case click.UsageError():
            return Failure(INPUT_WRONG, (_usage(error),))
        case KeyboardInterrupt() | click.Abort():
            return Failure(INTERRUPTED, (Diagnostic("interrupted", "interrupted"),))
        case OSError() if error.strerror:
            what = f"cannot use `{error.filename}`" if error.filename else "cannot go on"
            message = f"{what}: {error.strerror.lower()}"
            return Failure(INPUT_WRONG, (Diagnostic("system-error", message),))
    return _of_a_stage(error, arguments)


def _of_a_stage(error: BaseException, arguments: Sequence[str]) -> Failure:
    if isinstance(error, _class("passes.pipeline", "PassFailure")):
        return _broken_pass(error, arguments)
    if isinstance(error, _class("runtime.errors", "RunError")):
        return _failed_run(error)
    message = f"this is a bug in murakkab: {type(error).__name__}: {error}"
    hint = "run it again with `--debug` for a traceback, and report it"
    return Failure(PROGRAM_WRONG, (Diagnostic("internal-error", message, help=hint),))


def _class(module: str, name: str) -> type[BaseException] | tuple[()]:
    """Return an exception class of a stage that is loaded: one that is not cannot have raised."""
    found = sys.modules.get(f"{__package__.rpartition('.')[0]}.{module}")
    return getattr(found, name) if found is not None else ()


def _failed_run(error: Any) -> Failure:
    hint = None if error.record is None else f"`mkb show {error.record}` shows what completed"
    if error.journal is not None:
        words = [f" --settle '{name}=…'" for name in error.in_doubt[:_DOUBTS_SHOWN]]
        words += [" …"] if len(error.in_doubt) > _DOUBTS_SHOWN else []
        goes_on = f"`mkb run --resume {error.journal}{''.join(words)}` goes on from there"
        hint = goes_on if hint is None else f"{hint}, {goes_on}"
    found = [Diagnostic("run-failed", str(f), help=f.help) for f in error.failures]
    if error.interrupted:
        found.append(Diagnostic("interrupted", "interrupted"))
    elif error.state == "stopped":
        done, planned = error.calls
        left = f"about {planned - done} of {planned} calls are left"
        stands = left if planned > done else f"{done} calls are done, more than the plan expected"
        found.append(Diagnostic("run-stopped", f"{error.message.partition('; ')[0]}; {stands}"))
    found = found or [Diagnostic("run-failed", error.message)]
    helps = [text for text in (found[-1].help, hint) if text is not None]
    found[-1] = replace(found[-1], help="; ".join(helps) or None)
    failures = [failure.as_dict() for failure in error.failures]
    record = None if error.record is None else str(error.record)
    journal = None if error.journal is None else str(error.journal)
    details = {"failures": failures, "record": record, "journal": journal}
    return Failure(INTERRUPTED if error.interrupted else RUN_FAILED, tuple(found), details)


def _broken_pass(error: Any, arguments: Sequence[str]) -> Failure:
    path = _save_reproducer(f"mkb-reproducer-{error.step.name}.mkir", error.reproducer)
    message = f"this is a bug in the compiler: {error}"
    command = (
        f"mkb opt --passes '{error.step}' {shlex.join([*_surroundings(arguments), str(path)])}"
    )
    hint = f"`{command}` shows it again; please report it with the file"
    found = Diagnostic("pass-failed", message, help=hint)
    return Failure(PROGRAM_WRONG, (found,), {"reproducer": str(path)})


def _surroundings(arguments: Sequence[str]) -> list[str]:
    """Return the flags that say what was compiled for: a pass may fail in no other world."""
    kept: list[str] = []
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if flag in _WORLD:
            kept += [flag, value]
        elif flag.partition("=")[0] in _WORLD:
            kept.append(flag)
    return kept


def _save_reproducer(name: str, text: str) -> Path:
    import tempfile

    for folder in (Path(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue  # a read-only working directory is no reason to lose the reproducer
        return folder / name
    return Path(name)


def _usage(error: click.UsageError) -> Diagnostic:
    command = error.ctx.command_path if error.ctx is not None else "mkb"
    hint = f"`{command} --help` shows what there is"
    match error:
        case click.NoSuchOption():
            near = sorted(error.possibilities or ())
            message = f"no option `{error.option_name}`"
            hint = f"did you mean `{near[0]}`?" if near else hint
        case click.MissingParameter() if error.param is not None:
            message = f"`{_name(error.param)}` is missing"
        case click.BadParameter() if error.param is not None:
            message = f"`{_name(error.param)}`: {_plain(error.message)}"
        case _:
            message = _plain(error.message)
    return Diagnostic("usage", message, help=hint)


def _name(param: click.Parameter) -> str:
    return (
        param.make_metavar(click.Context(click.Command("")))
        if isinstance(param, click.Argument)
        else max(param.opts, key=len)
    )


def _plain(message: str) -> str:
    """Bring click's sentences into the form of ours: lower case, no full stop, backticks."""
    text = message.rstrip(".").replace("'", "`")
    return text[:1].lower() + text[1:]
