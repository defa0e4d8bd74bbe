"""Pipelines: their text form, the registry of passes, and running one with verification."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from ..ir.diagnostics import CompileError, Diagnostic, InputError, did_you_mean
from ..ir.printer import print_module
from ..ir.remarks import Remarks
from ..ir.verifier import verify
from ..ir.workflow import Module
from .base import Context, Observer, Pass, level_reached
from .bind import Bind
from .canonicalize import Canonicalize
from .choose import Choose
from .fuse import Fuse
from .hoist import Hoist
from .place import Place
from .pushdown import Pushdown
from .speculate import Speculate
from .substitute import Substitute

# One line a pass, in the order in which they usually run.
REGISTRY: dict[str, type[Pass]] = {
    step.name: step
    for step in (Bind, Canonicalize, Hoist, Pushdown, Fuse, Speculate, Choose, Substitute, Place)
}

LEVELS = {
    0: 'bind,place{policy="reference"}',
    1: 'bind,canonicalize,hoist,pushdown,fuse,place{policy="reference"}',
    2: "bind,canonicalize,hoist,pushdown,fuse,canonicalize,choose,substitute,place",
}

_ITEM = re.compile(r"\s*([a-z_][a-z0-9_-]*)\s*(?:\{([^{}]*)\})?\s*(,|$)")
_OPTION = re.compile(r'\s*([a-z_][a-z0-9_]*)\s*=\s*("[^"]*"|[^,"\s]+)\s*(,|$)')


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """Read `"canonicalize,fuse{prompts=false},place"`; an empty text is the identity.

    Raises InputError naming an unknown pass or option, with the nearest known spelling.
    """
    passes: list[Pass] = []
    position = 0
    while text[position:].strip():
        match = _ITEM.match(text, position)
        if match is None:
            raise _unusable(f"cannot read the pipeline at `{text[position:][:30]}`")
        passes.append(_pass(match[1], match[2] or ""))
        position = match.end()
        if match[3] == "," and not text[position:].strip():
            raise _unusable("the pipeline ends in a comma")
    return tuple(passes)


def print_pipeline(passes: Sequence[Pass]) -> str:
    """Return the text that `parse_pipeline` reads back to equal passes."""
    return ",".join(map(str, passes))


def _pass(name: str, options: str) -> Pass:
    kind = REGISTRY.get(name)
    if kind is None:
        known = ", ".join(REGISTRY)
        raise _unusable(
            f"no pass is named `{name}`", did_you_mean(name, REGISTRY) or f"known passes: {known}"
        )
    known_options = {f.name: f.type for f in fields(kind)}
    values: dict[str, Any] = {}
    position = 0
    while options[position:].strip():
        match = _OPTION.match(options, position)
        if match is None:
            raise _unusable(f"cannot read the options of `{name}` at `{options[position:][:30]}`")
        option, text = match[1], match[2]
        if option not in known_options:
            help = did_you_mean(option, known_options) or f"options: {', '.join(known_options)}"
            raise _unusable(f"pass `{name}` has no option `{option}`", help)
        values[option] = _option_value(name, option, str(known_options[option]), text)
        position = match.end()
    try:
        return kind(**values)
    except ValueError as error:
        raise _unusable(f"pass `{name}`: {error}") from None


def _option_value(name: str, option: str, kind: str, text: str) -> bool | int | float | str:
    text = text.strip('"')
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "str":
        return text
    if kind in ("int", "float"):
        with suppress(ValueError):
            return int(text) if kind == "int" else float(text)
    raise _unusable(f"option `{option}` of pass `{name}` wants a {kind}, not `{text}`")


def _unusable(message: str, help: str | None = None) -> InputError:
    return InputError(Diagnostic("invalid-pipeline", message, help=help))


class PassFailure(Exception):
    """A pass broke: our fault, not the author's. `reproducer` is a file that `mkb opt` reruns."""

    def __init__(self, step: Pass, reproducer: str, cause: Exception) -> None:
        """Keep the pass, what it was given, and why it failed."""
        super().__init__(f"pass `{step.name}` failed: {type(cause).__name__}: {cause}")
        self.step = step
        self.reproducer = reproducer


def run_pipeline(
    module: Module,
    passes: Sequence[Pass],
    context: Context,
    observe: Observer | None = None,
) -> Module:
    """Run passes in order, verifying before the first and after each.

    Raises CompileError for faults of the program, InputError where a pass is given a module of too
    low a level, and PassFailure with a reproducer where a pass raises anything else or breaks a
    rule of the IR.
    """
    verify(module)
    if passes and len(module.workflows) != 1:
        found = len(module.workflows)
        raise _unusable(f"passes work on one workflow, this module holds {found}")
    for step in passes:
        if not level_reached(module.level, step.needs):
            raise _unusable(
                f"pass `{step.name}` needs {step.needs} IR, this is {module.level}",
                help="run `bind` before it" if step.needs == "logical" else None,
            )
        before, remarks = module, Remarks()
        start = time.perf_counter()
        try:
            module = step.run(module, replace(context, remarked=remarks))
        except CompileError:
            raise
        except Exception as error:
            raise PassFailure(step, reproducer(before, step), error) from error
        seconds = time.perf_counter() - start
        try:
            verify(module)
        except CompileError as error:
            raise PassFailure(step, reproducer(before, step), error) from error
        if context.remarked is not None:
            for remark in remarks.all():
                context.remarked(remark)
        if observe is not None:
            observe(step, before, module, seconds, remarks.all())
    return module


def reproducer(module: Module, step: Pass) -> str:
    """Return the IR a pass was given, with the command that runs the pass on it again."""
    return f"// RUN: mkb opt --passes '{step}' %s\n{print_module(module)}"
