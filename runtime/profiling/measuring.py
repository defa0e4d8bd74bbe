"""Sizes of values, and values of a wanted kind: what an executor's calls are measured with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ...ir.diagnostics import Diagnostic, InputError
from ...ir.ops import Value
from ...ir.types import Base, ListOf, Option, Record, Type, contains_media
from ...ir.workflow import Task
from ...targets.sizes import CHARACTERS_PER_TOKEN, LIST_LENGTH, TEXT_TOKENS, Size
from ..media import Media
from ..values import ValueProblem, from_json, parse_input
from .prompts import random_words

_WORD_TOKENS = 5.0 / CHARACTERS_PER_TOKEN  # four letters and a blank


def size_of(kind: Type, value: Any) -> Size:
    """Return a value's size, as the library's formulas measure it; lists have their mean item."""
    match kind, value:
        case Option(item), _:
            return Size() if value is None else size_of(item, value)
        case ListOf(item), list():
            sizes = [size_of(item, element) for element in value]
            return Size(length=float(len(value)), item=_mean(sizes))
        case Record(fields), dict():
            parts = tuple((name, size_of(item, value[name])) for name, item in fields)
            duration = max(value.get("end", 0.0) - value.get("start", 0.0), 0.0)
            return Size(fields=parts, duration=duration)
        case _, Media():
            return _medium(value)
        case _, str():
            return Size(tokens=len(value) / CHARACTERS_PER_TOKEN)
    return Size(tokens=len(json.dumps(value, default=str)) / CHARACTERS_PER_TOKEN)


def _mean(sizes: Sequence[Size]) -> Size:
    number = max(len(sizes), 1)
    return Size(
        tokens=sum(s.total("tokens") for s in sizes) / number,
        duration=sum(s.total("duration") for s in sizes) / number,
        pixels=sum(s.total("pixels") for s in sizes) / number,
        bytes=sum(s.total("bytes") for s in sizes) / number,
        images=sum(s.total("images") for s in sizes) / number,
    )


def _medium(medium: Media) -> Size:
    size = Size(bytes=float(len(medium.read())))
    match medium.kind:
        case "image":
            return size.with_fact("images", 1.0)
        case "video" | "audio":
            return size.with_fact("duration", duration_s(medium))
    return size


def duration_s(medium: Media) -> float:
    """Return how long a video or a recording is; raises `ExecutorError` where it is none."""
    from ..executors.containers import opened

    with opened(medium) as container:
        return float(container.duration or 0) / 1e6  # FFmpeg counts microseconds


def cases_of(task: Task, files: Sequence[Path]) -> tuple[dict[str, Any], ...]:
    """Return arguments of calls: of each file one call, or made up where there are none.

    A `.json` file holds an object of the task's parameters, or a list of such. Any other file is
    the value of a task's only parameter: a medium, a list of that one, a whole video as a scene, or
    text. Raises `InputError`.
    """
    if not files:
        return (_made_up(task),)
    return tuple(case for file in files for case in _of_file(task, file))


def _made_up(task: Task) -> dict[str, Any]:
    if any(contains_media(p.type) for p in task.params):
        message = f"`{task.name}` takes {_signature(task)}, which is not made up"
        raise InputError(Diagnostic("usage", message, help="give files with `--input FILE`"))
    chance = Random(0)
    return {p.name: _made_up_value(p.type, chance) for p in task.params}


def _made_up_value(kind: Type, chance: Random) -> Any:
    match kind:
        case ListOf(item):
            return [_made_up_value(item, chance) for _ in range(round(LIST_LENGTH))]
        case Option(item):
            return _made_up_value(item, chance)
        case Record(fields):
            return {name: _made_up_value(item, chance) for name, item in fields}
        case Base("Text"):
            return random_words(round(TEXT_TOKENS / _WORD_TOKENS), chance)
        case Base("Json"):
            return {"note": random_words(20, chance)}
        case Base("Bool"):
            return True
        case Base("Float"):
            return 1.0
    return 1


def _of_file(task: Task, file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".json":
        return _of_json(task, file)
    if len(task.params) != 1:
        message = f"`{task.name}` takes {_signature(task)}: `{file}` cannot be all of that"
        hint = "give a JSON object of the parameters in a `.json` file"
        raise InputError(Diagnostic("usage", message, help=hint))
    (param,) = task.params
    try:
        return [{param.name: _value(param, file)}]
    except ValueProblem as problem:
        raise _unusable(file, str(problem)) from None


def _value(param: Value, file: Path) -> Any:
    match param.type:
        case ListOf(Base() as item):
            return [parse_input(item, _stated(item, file), Path())]
        case Record(fields) if {"video", "start", "end"} == {name for name, _ in fields}:
            video = parse_input(Base("Video"), str(file), Path())
            return {"video": video, "start": 0.0, "end": duration_s(video)}
    return parse_input(param.type, _stated(param.type, file), Path())


def _stated(kind: Type, file: Path) -> str:
    """Return how an input of the command line names a file: texts begin with `@`."""
    return str(file) if contains_media(kind) else f"@{file}"


def _of_json(task: Task, file: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise _unusable(file, (error.strerror or "it cannot be read").lower()) from None
    except (ValueError, RecursionError) as error:
        raise _unusable(file, f"it is not JSON: {error}") from None
    cases = document if isinstance(document, list) else [document]
    if not cases or not all(isinstance(case, dict) for case in cases):
        raise _unusable(file, f"it is no object of {_signature(task)}")
    return [_checked(task, case, file) for case in cases]


def _checked(task: Task, case: Mapping[str, Any], file: Path) -> dict[str, Any]:
    names = [p.name for p in task.params]
    odd = [name for name in case if name not in names]
    missing = [name for name in names if name not in case]
    if odd or missing:
        what = f"`{odd[0]}` is no parameter" if odd else f"`{missing[0]}` is missing"
        raise _unusable(file, f"{what}; `{task.name}` takes {_signature(task)}")
    try:
        return {p.name: from_json(p.type, case[p.name], file.parent) for p in task.params}
    except ValueProblem as problem:
        raise _unusable(file, str(problem)) from None


def _unusable(file: Path, why: str) -> InputError:
    return InputError(Diagnostic("unreadable-file", f"cannot use `{file}`: {why}"))


def _signature(task: Task) -> str:
    return ", ".join(f"{p.name}: {p.type}" for p in task.params) or "nothing"
