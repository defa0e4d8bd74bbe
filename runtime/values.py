"""Values at the edges of a run: read from inputs, checked against types, encoded for records.

In a run, `Text` and enumerations are `str`, `Int` `int`, `Float` `float` or `int`, `Bool` `bool`,
lists `list`, records `dict`, `none` `None`, media `Media`, `Json` what `json` reads; `Embedding`
is a list of numbers or an array of them, `Index` whatever its executors agree on.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ..ir.types import MEDIA_TYPES, Base, Enum, ListOf, Option, Record, Type
from .evaluate import INT_LIMIT
from .list_file import ListFile
from .media import Media, MediaKind

Check = Callable[[Any], str | None]
_MAX_INPUT_BYTES = 256 * 1024 * 1024
_MAX_LEVELS = 100  # of Json: nobody needs more, and what reads values further on is recursive
_SHOWN = 60  # characters of a wrong value that a message repeats


class ValueProblem(ValueError):
    """A value that does not fit where it is given; the message says what is wrong with it."""


def check_value(kind: Type, value: Any) -> str | None:
    """Return what keeps a value from being of a type, with the place inside it, or None."""
    return checker(kind)(value)


@lru_cache(maxsize=1024)
def checker(kind: Type) -> Check:
    """Return the check of a type: a function of a value, see `check_value`."""
    match kind:
        case Base(name):
            return _base(name)
        case Enum(values):
            return _enum(frozenset(values), str(kind))
        case Option(item):
            inner = checker(item)
            return lambda value: None if value is None else inner(value)
        case ListOf(item):
            return _list(checker(item), item, str(kind))
    return _record({name: checker(item) for name, item in kind.fields}, str(kind))


def _wrong(wanted: str, value: Any) -> str:
    return f"expected {wanted}, got {describe(value)}"


def describe(value: Any) -> str:
    """Return a value in a few words, for messages."""
    if value is None:
        return "none"
    if isinstance(value, Media):
        return f"{value.kind} `{value.name}`"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to write it out
    if isinstance(value, (str, int, float)):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return "a record with " + (", ".join(f"`{key}`" for key in value) or "no fields")
    return f"a Python `{type(value).__name__}`"


def _base(name: str) -> Check:
    if name in MEDIA_TYPES:
        wanted = name.lower()
        # a `File` is anything that has content
        kinds = ("image", "audio", "video", "file") if wanted == "file" else (wanted,)
        return lambda v: None if isinstance(v, Media) and v.kind in kinds else _wrong(f"{name}", v)
    return _CHECKS[name]


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return _wrong("Text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = ord(value[error.start])
        return f"expected Text, got half a character on its own: `\\u{half:04x}`"
    return None


def _int(value: Any) -> str | None:
    if type(value) is int and -INT_LIMIT <= value < INT_LIMIT:
        return None
    return _wrong("Int of 64 bits" if type(value) is int else "Int", value)


def _float(value: Any) -> str | None:
    if type(value) is int:
        return _int(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else _wrong("a finite Float", value)
    return _wrong("Float", value)


def _embedding(value: Any) -> str | None:
    if isinstance(value, list) and all(type(x) in (float, int) for x in value):
        return None
    if getattr(value, "ndim", 0) == 1 and hasattr(value, "tolist"):
        return None
    return _wrong("Embedding (a list of numbers)", value)


def _json(value: Any, levels: int = _MAX_LEVELS) -> str | None:
    parts: Iterable[Any] = ()
    match value:
        case None | bool():
            return None
        case str():
            return _text(value)
        case int() | float():
            return _float(value)
        case list():
            parts = value
        case dict() if all(isinstance(key, str) for key in value):
            parts = (*value, *value.values())
        case _:
            return _wrong("Json", value)
    if levels == 0:
        return f"expected Json of at most {_MAX_LEVELS} levels"
    return next((p for p in (_json(part, levels - 1) for part in parts) if p is not None), None)


_CHECKS: Mapping[str, Check] = {
    "Text": _text,
    "Int": _int,
    "Float": _float,
    "Bool": lambda v: None if isinstance(v, bool) else _wrong("Bool", v),
    "Json": lambda v: _json(v),
    "Embedding": _embedding,
    "Index": lambda v: None if v is not None else _wrong("Index", v),
    "Never": lambda v: None if v is None else _wrong("no value", v),
}


def _enum(values: frozenset[str], wanted: str) -> Check:
    return lambda v: None if isinstance(v, str) and v in values else _wrong(f"one of {wanted}", v)


def _list(item: Check, kind: Type, wanted: str) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, ListFile) and value.kind == kind:
            return None  # its items were checked when it was opened
        if not isinstance(value, list):
            return _wrong(wanted, value)
        for index, element in enumerate(value):
            problem = item(element)
            if problem is not None:
                return f"in item {index}: {problem}"
        return None

    return check


def _record(fields: dict[str, Check], wanted: str) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or value.keys() != fields.keys():
            return _wrong(wanted, value)
        for name, inner in fields.items():
            problem = inner(value[name])
            if problem is not None:
                return f"in field `{name}`: {problem}"
        return None

    return check


# ---- inputs


def parse_input(kind: Type, text: str, base_dir: Path) -> Any:
    """Read one input given on the command line, by the declared type of its parameter.

    Text is taken verbatim; a medium is the path of a readable file, from `base_dir` where it is
    relative; lists, records and Json are JSON. `@FILE` reads the text (not of a medium) from a
    file; `@@` stands for a leading `@`. Raises `ValueProblem`.
    """
    if isinstance(kind, Option):
        return None if text == "none" else parse_input(kind.item, text, base_dir)
    if isinstance(kind, Base) and kind.name in MEDIA_TYPES:
        return _media(kind.name, text, base_dir)
    if text.startswith("@@"):
        text = text[1:]
    elif text.startswith("@"):
        text = _file_text(text[1:], base_dir)
    if isinstance(kind, Enum) or kind == Base("Text"):
        return _checked(kind, text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueProblem(f"expected {kind}, written as JSON: {error}") from None
    return from_json(kind, document, base_dir)


def from_json(kind: Type, document: Any, base_dir: Path) -> Any:
    """Turn a JSON document into a value of a type; media stand in it as paths.

    A record's optional fields may be left out. Raises `ValueProblem`.
    """
    return _checked(kind, _revive(kind, document, base_dir))


def _revive(kind: Type, document: Any, base_dir: Path) -> Any:
    match kind, document:
        case Option(item), _:
            return None if document is None else _revive(item, document, base_dir)
        case Base(name), str() if name in MEDIA_TYPES:
            return _media(name, document, base_dir)
        case ListOf(item), list():
            return [_revive(item, element, base_dir) for element in document]
        case Record(fields), dict():
            absent = {n: None for n, t in fields if isinstance(t, Option) and n not in document}
            known = dict(fields)
            return absent | {
                name: _revive(known[name], value, base_dir) if name in known else value
                for name, value in document.items()
            }
    return document


def _checked(kind: Type, value: Any) -> Any:
    problem = check_value(kind, value)
    if problem is not None:
        raise ValueProblem(problem)
    return value


def _media(name: str, text: str, base_dir: Path) -> Media:
    path = base_dir / text
    reason = unreadable(path)
    if reason is not None:
        raise ValueProblem(f"expected {name}: `{text}` {reason}")
    return Media(cast(MediaKind, name.lower()), path=str(path.absolute()))


def unreadable(path: Path) -> str | None:
    """Return what keeps a path from being a file that can be read, to follow its name, or None."""
    if "\0" in str(path):
        return "is not a path"
    try:
        if not path.exists():
            return "does not exist"
        if not path.is_file():
            return "is not a file"
        return None if os.access(path, os.R_OK) else "may not be read"
    except (OSError, ValueError) as error:  # such as a name that is too long, or is no text
        return f"is not a path: {getattr(error, 'strerror', None) or 'it is no text'}".lower()


def _file_text(name: str, base_dir: Path) -> str:
    path = base_dir / name
    reason = unreadable(path)
    if reason is None and path.stat().st_size > _MAX_INPUT_BYTES:
        reason = f"is over {_MAX_INPUT_BYTES // 2**20} MiB"
    if reason is not None:
        raise ValueProblem(f"`{name}` {reason}")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueProblem(f"`{name}` is not UTF-8 text (byte {error.start})") from None


# ---- encoding


def encode(value: Any) -> Any:
    """Return a value as JSON can hold it; media become `{"media", "sha256", "path" or "bytes"}`.

    `bytes` is the size; the content itself stands apart, under its digest. A list in a file becomes
    `{"lines": path, "sha256", "count"}`, a value that JSON has no form for `{"python": type}`.
    Raises `OSError` where a medium cannot be read.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [encode(item) for item in value]
        case dict():
            return {str(key): encode(item) for key, item in value.items()}
        case Media():
            where = {"path": value.path} if value.path else {"bytes": len(value.data or b"")}
            return {"media": value.kind, "sha256": media_digest(value), **where}
        case ListFile():
            return {"lines": value.path, "sha256": value.sha256, "count": value.count}
    if hasattr(value, "tolist"):
        return encode(value.tolist())
    return {"python": type(value).__name__}


def media_digest(media: Media) -> str:
    """Return the SHA-256 of a medium; a file that has not changed is read once."""
    if media.path is None:
        return media.digest()
    stat = os.stat(media.path)
    return _file_digest(media.path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _file_digest(path: str, mtime_ns: int, size: int) -> str:
    return Media("file", path=path).digest()


def canonical(encoded: Any) -> str:
    """Return the only text form of an encoded value: compact JSON with sorted keys."""
    return _canonical(encoded)


_canonical = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":")
).encode  # made once: it costs more than encoding a small value


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's content; where it is kept does not matter."""
    if isinstance(value, ListFile):
        return value.sha256
    encoded = encode(value)
    return digest_encoded(encoded, canonical(encoded))


def digest_encoded(encoded: Any, text: str) -> str:
    """Return the digest of a value that is encoded already, and written as `canonical` does."""
    return hashlib.sha256(_without_places(encoded, text).encode()).hexdigest()


class ListDigest:
    """Computes `digest` of a list that comes item by item."""

    def __init__(self) -> None:
        """Begin with no item."""
        self.count = 0
        self._hash = hashlib.sha256(b"[")

    def add(self, item: Any) -> None:
        """Take the next item."""
        encoded = encode(item)
        text = _without_places(encoded, canonical(encoded))
        self._hash.update(f",{text}".encode() if self.count else text.encode())
        self.count += 1

    def hexdigest(self) -> str:
        """Return the digest of the list so far."""
        whole = self._hash.copy()
        whole.update(b"]")
        return whole.hexdigest()


def _without_places(encoded: Any, text: str) -> str:
    """Return the text of an encoded value without the paths of media."""
    return canonical(_placeless(encoded)) if '"media"' in text else text


def _placeless(encoded: Any) -> Any:
    match encoded:
        case list():
            return [_placeless(item) for item in encoded]
        case {"media": kind, "sha256": sha, **rest} if len(rest) == 1:
            return {"media": kind, "sha256": sha}
        case dict():
            return {key: _placeless(item) for key, item in encoded.items()}
    return encoded
