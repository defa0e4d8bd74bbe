"""How a journal writes values, and reads them back by their type."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ...ir.types import MEDIA_TYPES, Base, Enum, ListOf, Option, Type
from ..json_lines import open_lines
from ..media import Media, MediaKind
from ..values import ValueProblem, check_value, encode, media_digest

# Takes the digest of content and the content.
Keep = Callable[[str, bytes], None]
# Returns the content with a digest; raises KeyError where there is none.
Find = Callable[[str], bytes]
# All ASCII: text may hold halves of surrogate pairs, which UTF-8 has no form for.
# A row of SQLite has at most a thousand million bytes, its other columns included.
_MAX_BYTES = 999_000_000
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))


class TooLong(ValueError):
    """A value that takes more bytes than a journal keeps of one."""


class ValueLost(Exception):
    """A value that a journal has is not there any more: a file was changed or is gone."""


@lru_cache(maxsize=1024)
def can_be_kept(kind: Type) -> bool:
    """Tell whether values of a type can be written: an `Index` is whatever its executors made."""
    match kind:
        case Base(name):
            return name != "Index"
        case Enum():
            return True
        case Option(item) | ListOf(item):
            return can_be_kept(item)
    return all(can_be_kept(item) for _, item in kind.fields)


def written(value: Any, keep: Keep) -> str:
    """Return a value as JSON text; content that it holds goes to `keep`.

    A medium in a file stays there, with its digest. Raises `OSError` where such a file cannot be
    read, and `TooLong`.
    """
    _keep_content(value, keep)
    text = _ENCODER.encode(encode(value))
    _fit(len(text))
    return text


def _fit(length: int) -> None:
    if length > _MAX_BYTES:
        raise TooLong(f"it takes {length:,} bytes, more than the {_MAX_BYTES:,} of one value")


def _keep_content(value: Any, keep: Keep) -> None:
    match value:
        case Media(data=bytes() as data):
            _fit(len(data))
            keep(value.digest(), data)
        case list() | tuple():
            for item in value:
                _keep_content(item, keep)
        case dict():
            for item in value.values():
                _keep_content(item, keep)


def read(kind: Type, text: str, find: Find) -> Any:
    """Return the value that `written` wrote, of the type it had then.

    Raises `ValueLost` where it cannot be had, or is not of the type.
    """
    try:
        value = _revived(kind, json.loads(text), find)
    except (ValueError, RecursionError, KeyError, TypeError, OSError) as error:
        raise ValueLost(str(error)) from error
    problem = check_value(kind, value)
    if problem is not None:
        raise ValueLost(problem)
    return value


def read_input(kind: Type, text: str, find: Find) -> Any:
    """Return an input that `written` wrote; a list in a file stays there. Raises `ValueLost`."""
    item = kind.item if isinstance(kind, Option) else kind
    document = json.loads(text)
    if not isinstance(item, ListOf) or not isinstance(document, dict):
        return read(kind, text, find)
    path = document["lines"]
    try:
        found = open_lines(item.item, Path(path))
    except ValueProblem as problem:
        raise ValueLost(str(problem)) from None
    if found.sha256 != document["sha256"]:
        raise ValueLost(f"`{path}` has changed")
    return found


def _revived(kind: Type, document: Any, find: Find) -> Any:
    match kind, document:
        case _, None:
            return None
        case Option(item), _:
            return _revived(item, document, find)
        case Base(name), dict() if name in MEDIA_TYPES:
            return _medium(document, find)
        case ListOf(item), list():
            return [_revived(item, element, find) for element in document]
        case ((Base() | Enum()), _):
            return document
        case _, dict():
            fields = dict(kind.fields)  # type: ignore[union-attr]  # only records are left
            return {name: _revived(fields[name], value, find) for name, value in document.items()}
    return document


def _medium(document: dict[str, Any], find: Find) -> Media:
    kind, path = cast(MediaKind, document["media"]), document.get("path")
    if path is None:
        return Media(kind, data=find(document["sha256"]))
    found = Media(kind, path=str(Path(path)))
    if media_digest(found) != document["sha256"]:
        raise ValueLost(f"`{path}` has changed")
    return found
