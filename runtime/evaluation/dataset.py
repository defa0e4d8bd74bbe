"""Datasets: what a workflow is asked, and what is expected of it; JSONL, one object an item."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic, InputError, Span, nearest
from ...ir.types import Option
from ...ir.workflow import Workflow
from ...targets.json_document import strict_json
from ..values import ValueProblem, canonical, digest, from_json

_MAX_BYTES = 1 << 30
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Item:
    """One item: the workflow's inputs by parameter name, what is expected, and its line from 1."""

    line: int
    inputs: Mapping[str, Any]
    expected: Any


@dataclass(frozen=True, slots=True)
class Dataset:
    """The items of a file, in its order; `digest` is of their content, media included."""

    path: Path
    items: tuple[Item, ...]
    digest: str


def load_dataset(path: Path, workflow: Workflow, expected: str = "expected") -> Dataset:
    """Read the items of a workflow; media are paths relative to the dataset.

    `expected` names the field that holds what is expected; fields that are no parameters are left
    alone. Raises InputError with the first findings, each with its line.
    """
    if any(param.name == expected for param in workflow.params):
        message = f"`{expected}` is an input of workflow `{workflow.name}`, not what is expected"
        hint = "name the field that holds what is expected with `--expected FIELD`"
        raise InputError(Diagnostic("usage", message, help=hint))
    items: list[Item] = []
    findings: list[Diagnostic] = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        read = _item(line, number, path, workflow, expected)
        if isinstance(read, Item):
            items.append(read)
        else:
            findings += read
    if len(findings) > _MOST_TOLD:
        more = f"{len(findings) - _MOST_TOLD} more findings in `{path}`"
        findings = [*findings[:_MOST_TOLD], Diagnostic("bad-item", more)]
    if not items and not findings:
        findings = [Diagnostic("bad-item", f"`{path}` holds no items", _place(path, 1, ""))]
    if findings:
        raise InputError(findings)
    return Dataset(path, tuple(items), _digest(items, path))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES >> 20} MiB")
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise InputError(Diagnostic("no-such-file", f"there is no file `{path}`")) from None
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    except ValueError as error:
        why = str(error)
    raise InputError(Diagnostic("unreadable-file", f"cannot read `{path}`: {why}"))


def _item(
    line: str, number: int, path: Path, workflow: Workflow, expected: str
) -> Item | list[Diagnostic]:
    place = _place(path, number, line)
    try:
        document = strict_json(line)
    except json.JSONDecodeError as error:
        at = Span(str(path), number, error.colno, number, error.colno + 1)
        return [Diagnostic("bad-item", f"not JSON: {error.msg.lower()}", at)]
    except (ValueError, RecursionError):
        return [Diagnostic("bad-item", "not JSON that can be read", place)]
    if not isinstance(document, dict):
        hint = f'a line looks like `{{"{expected}": …, "input": …}}`'
        return [Diagnostic("bad-item", "the line is not a JSON object", place, help=hint)]
    found = list(_missing(document, workflow, expected, place))
    inputs: dict[str, Any] = {}
    for param in workflow.params:
        if param.name not in document:
            inputs[param.name] = None
            continue
        try:
            inputs[param.name] = from_json(param.type, document[param.name], path.parent)
        except ValueProblem as problem:
            found.append(Diagnostic("bad-item", f"input `{param.name}`: {problem}", place))
    return found or Item(number, inputs, document[expected])


def _missing(
    document: Mapping[str, Any], workflow: Workflow, expected: str, place: Span
) -> Iterator[Diagnostic]:
    names = {param.name for param in workflow.params}
    others = [name for name in document if name not in names and name != expected]
    for param in workflow.params:
        if param.name in document:
            continue
        near = nearest(param.name, others)
        if near is None and isinstance(param.type, Option):
            continue
        hint = None if near is None else f"is `{near}` meant to be it?"
        message = f"input `{param.name}: {param.type}` is missing"
        yield Diagnostic("bad-item", message, place, help=hint)
    if expected not in document:
        hint = "name the field that holds what is expected with `--expected FIELD`"
        yield Diagnostic("bad-item", f"field `{expected}` is missing", place, help=hint)


def _place(path: Path, number: int, line: str) -> Span:
    return Span(str(path), number, 1, number, max(2, len(line) + 1))


def _digest(items: list[Item], path: Path) -> str:
    found = hashlib.sha256()
    for item in items:
        try:
            found.update(digest(dict(item.inputs)).encode())
        except OSError as error:
            message = f"a medium cannot be read: {error}"
            place = _place(path, item.line, "")
            raise InputError(Diagnostic("bad-item", message, place)) from None
        found.update(canonical(item.expected).encode())
    return found.hexdigest()
