"""The inputs of a run: from `--input name=value` and `--inputs FILE` to values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from ..ir.types import ListOf, Option, Type
from ..ir.workflow import Workflow
from ..runtime.json_lines import JsonLines, LineProblem, open_lines
from ..runtime.links import listed
from ..runtime.values import ValueProblem, from_json, parse_input
from .failures import UnusableInputs
from .output import Output, read_input

_LINES = (".jsonl", ".ndjson")


def inputs(
    workflow: Workflow, pairs: Sequence[str], file: str | None, output: Output
) -> dict[str, Any]:
    """Return a value for each parameter, read by its declared type.

    `pairs` are `name=value` texts and come before what stands in `file`, a JSON object whose paths
    are relative to its folder. A parameter of type `T?` may be left out. A list may be given as
    `@FILE.jsonl`: it is checked, and stays in that file where the workflow only goes through it.
    InputError where the flags or the file cannot be read; UnusableInputs, with every finding, where
    they do not fit.
    """
    texts = _pairs(pairs)
    document = {} if file is None else _document(file, output)
    kinds = {p.name: p.type for p in workflow.params}
    found = [_unknown(name, workflow) for name in {**texts, **document} if name not in kinds]
    values: dict[str, Any] = {}
    streaming = listed(workflow.body)
    folder = Path() if file in (None, "-") else Path(str(file)).parent
    for name, kind in kinds.items():
        try:
            lines = _lines(kind, name, texts, document, folder)
            if lines is not None:
                values[name] = lines if name in streaming else list(lines)
            elif name in texts:
                values[name] = parse_input(kind, texts[name], Path())
            elif name in document:
                values[name] = from_json(kind, document[name], folder)
            elif isinstance(kind, Option):
                values[name] = None
            else:
                message = f"input `{name}: {kind}` is missing"
                hint = f"give it with `--input {name}=…`"
                found.append(Diagnostic("missing-input", message, help=hint))
        except LineProblem as problem:
            place = Span(
                str(problem.path), problem.line, problem.column, problem.line, problem.column + 1
            )
            message = f"input `{name}`: {problem.reason}"
            found.append(Diagnostic("wrong-input", message, place))
        except ValueProblem as problem:
            found.append(Diagnostic("wrong-input", f"input `{name}`: {problem}"))
    if found:
        raise UnusableInputs(found)
    return values


def _lines(
    kind: Type,
    name: str,
    texts: Mapping[str, str],
    document: Mapping[str, Any],
    folder: Path,
) -> JsonLines | None:
    """Open the JSON Lines file that a list is given as, None where it is not.

    No text is a value of a list, so `"@FILE.jsonl"` is not one by mistake.
    """
    item = kind.item if isinstance(kind, Option) else kind
    given = texts.get(name, document.get(name))
    if not isinstance(item, ListOf) or not isinstance(given, str):
        return None
    if not given.startswith("@") or not given.endswith(_LINES):
        return None
    return open_lines(item.item, (Path() if name in texts else folder) / given[1:])


def _pairs(pairs: Sequence[str]) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise _usage(f"`--input {pair}` has no `=`", "write `--input name=value`")
        if name in texts:
            raise _usage(f"`--input {name}=…` is given twice", None)
        texts[name] = text
    return texts


def _document(file: str, output: Output) -> dict[str, Any]:
    text = read_input(file, output)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _usage(f"`{file}` is not JSON: {error.msg.lower()} at {where}", None) from None
    except RecursionError:
        raise _usage(f"`{file}` is nested too deep", None) from None
    except ValueError:
        # the only other one: Python reads no integers of more than 4300 digits
        raise _usage(f"`{file}` holds an integer of thousands of digits", None) from None
    if not isinstance(document, dict):
        raise _usage(f"`{file}` is not a JSON object", 'it looks like `{"name": value, …}`')
    return document


def _usage(message: str, help: str | None) -> InputError:
    return InputError(Diagnostic("usage", message, help=help))


def _unknown(name: str, workflow: Workflow) -> Diagnostic:
    names = [p.name for p in workflow.params]
    declared = ", ".join(f"`{p.name}: {p.type}`" for p in workflow.params) or "none"
    message = f"workflow `{workflow.name}` has no input `{name}`"
    hint = did_you_mean(name, names) or f"its inputs are {declared}"
    return Diagnostic("unknown-input", message, help=hint)
