"""TOML files with places: every finding has a file, a line, a column, and a suggestion."""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError, Span, did_you_mean
from ..ir.quantities import parse_quantity
from .conformance import load_schema, surely_conforms
from .toml_places import Path as KeyPath
from .toml_places import Place, line_column, line_starts, scan

MAX_BYTES = 4_000_000  # far above any file a person writes
MAX_INTEGER = 2**63 - 1
MAX_FINDINGS = 200  # of one file against its schema
MAX_KEY_PARTS = 64  # `tomllib` takes the square of a key's parts, and worse
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{MAX_KEY_PARTS}}}"
)
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class TomlSource:
    """A TOML file's content and where its parts stand."""

    file: str
    text: str
    data: Mapping[str, Any]

    @property
    def places(self) -> Mapping[KeyPath, Place]:
        """Return where every key and value stands: found when it is first asked for."""
        return _scanned(self.text)[0]

    def span(self, path: KeyPath, *, key: bool = False) -> Span:
        """Return where a value (or its key) stands; that of the nearest table when it has none."""
        while path and path not in self.places:
            path, key = path[:-1], False
        if path not in self.places:
            return self._span(0, 1)
        place = self.places[path]
        return self._span(*(place.key if key else place.value))

    def within(self, path: KeyPath, offset: int) -> Span:
        """Return the place of a character of a string value; all of it where it has escapes."""
        start, end = self.places[path].value
        raw = self.text[start:end]
        if raw[:3] in ('"""', "'''") or "\\" in raw:
            return self._span(start, end)
        return self._span(start + 1 + offset, max(end - 1, start + 2 + offset))

    def finding(
        self, id: str, message: str, path: KeyPath, *, key: bool = False, help: str | None = None
    ) -> Diagnostic:
        """Return an error at a value, or at its key."""
        return Diagnostic(id, message, self.span(path, key=key), help=help)

    def quantity(self, path: KeyPath, unit: str) -> float:
        """Return a quantity such as `"30 s"` in its base unit; InputError when it is another."""
        value: Any = self.data
        for part in path:
            value = value[part]
        example = EXAMPLES[unit]
        try:
            found = parse_quantity(value)
        except ValueError as e:
            raise InputError(
                self.finding("bad-quantity", str(e), path, help=f"write it as in `{example}`")
            ) from None
        if found.unit != unit or found.value < 0 or not math.isfinite(found.value):
            message = f"`{value}` is not {QUANTITIES[unit]}"
            raise InputError(
                self.finding("bad-quantity", message, path, help=f"write it as in `{example}`")
            )
        return found.value

    def _span(self, start: int, end: int) -> Span:
        starts = _scanned(self.text)[1]
        line, column = line_column(starts, start)
        end_line, end_column = line_column(starts, max(end, start + 1))
        return Span(self.file, line, column, end_line, end_column)


QUANTITIES = {
    "bytes": "an amount of memory",
    "bytes/s": "a bandwidth",
    "USD/s": "a price for a time",
    "s": "a time",
}
EXAMPLES = {"bytes": "80 GB", "bytes/s": "2039 GB / s", "USD/s": "$27.20 / h", "s": "30 s"}


def load_toml(path: Path, schema: str) -> TomlSource:
    """Read a user's TOML file and check it against one of the published schemas.

    `schema` names a file of `targets/schemas`. Raises InputError with the first findings.
    """
    source = parse_toml(read_text(path), str(path))
    wrong = chain(_violations(source, load_schema(schema)), _bad_numbers(source, (), source.data))
    findings = tuple(islice(wrong, MAX_FINDINGS))
    if findings:
        raise InputError(findings)
    return source


def shipped_toml(folder: str, only: Collection[str] | None = None) -> tuple[TomlSource, ...]:
    """Read the TOML files shipped in a folder of this package, by name; tests check them.

    `only` names those that are wanted, without `.toml`.
    """
    found = sorted((Path(__file__).parent / folder).glob("*.toml"))
    files = [f for f in found if only is None or f.stem in only]
    return tuple(parse_toml(f.read_text("utf-8"), f"{folder}/{f.name}") for f in files)


def read_text(path: Path) -> str:
    """Return the text of a file the user named; InputError where it cannot be read as text."""
    try:
        with path.open("rb") as file:
            # devices have no end; a pipe may be what a shell made of `<(…)`
            device = stat.S_ISCHR(os.fstat(file.fileno()).st_mode)
            raw = b"" if device else file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as e:  # such as a name with a NUL
        reason = (getattr(e, "strerror", None) or str(e)).lower()
        message = f"cannot read `{path}`: {reason}"
        raise InputError(Diagnostic("unreadable-file", message, _start(path))) from None
    if device or len(raw) > MAX_BYTES:
        why = "it is a device" if device else f"it has more than {MAX_BYTES} bytes"
        message = f"cannot read `{path}`: {why}"
        raise InputError(Diagnostic("unreadable-file", message, _start(path)))
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        column = e.start - raw.rfind(b"\n", 0, e.start)
        where = Span(str(path), line, column, line, column + 1)
        message = f"`{path}` is not UTF-8 text"
        raise InputError(Diagnostic("unreadable-file", message, where)) from None


def _start(path: Path) -> Span:
    return Span(str(path), 1, 1, 1, 2)


def parse_toml(text: str, file: str) -> TomlSource:
    """Parse TOML text; InputError with line and column where it is malformed."""
    starts = line_starts(text)
    long = _LONG_KEY.search(text)
    if long is not None:
        line, column = line_column(starts, long.start())
        message = f"malformed TOML: a key has more than {MAX_KEY_PARTS} parts"
        found = Diagnostic("malformed-toml", message, Span(file, line, column, line, column + 1))
        raise InputError(found)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        message = str(e)
        place = _TOML_PLACE.search(message)
        line, column = line_column(starts, len(text))
        if place is not None and place[1]:
            line, column = int(place[1]), int(place[2])
        plain = _TOML_PLACE.sub("", message)
        span = Span(file, line, column, line, column + 1)
        wording = f"malformed TOML: {plain[:1].lower()}{plain[1:]}"
        raise InputError(Diagnostic("malformed-toml", wording, span)) from None
    except (RecursionError, ValueError) as e:
        deep = isinstance(e, RecursionError)
        # the only other `ValueError`: Python reads no integers of more than 4300 digits
        message = f"malformed TOML: {'nested too deeply' if deep else 'a number is too long'}"
        span = Span(file, 1, 1, 1, 2)
        raise InputError(Diagnostic("malformed-toml", message, span)) from None
    return TomlSource(file, text, data)


@lru_cache(maxsize=64)
def _scanned(text: str) -> tuple[Mapping[KeyPath, Place], tuple[int, ...]]:
    """Return the places of a valid TOML text, and where its lines start."""
    return scan(text), line_starts(text)


def _violations(source: TomlSource, schema: Mapping[str, Any]) -> Iterator[Diagnostic]:
    if surely_conforms(source.data, schema):
        return
    from jsonschema import Draft202012Validator  # 45 ms, for files that are wrong

    for error in Draft202012Validator(schema).iter_errors(source.data):
        path: KeyPath = tuple(error.absolute_path)
        yield from _worded(source, path, error.validator, error.validator_value, error)


def _bad_numbers(source: TomlSource, path: KeyPath, value: Any) -> Iterator[Diagnostic]:
    """Yield every `nan`, `inf` and oversized integer: TOML has them, schemas let them pass."""
    match value:
        case float() if not math.isfinite(value):
            yield source.finding("bad-value", f"{_name(path)} is not a finite number", path)
        case int() if abs(value) > MAX_INTEGER:
            yield source.finding("bad-value", f"{_name(path)} does not fit in 64 bits", path)
        case list():
            for i, item in enumerate(value):
                yield from _bad_numbers(source, (*path, i), item)
        case dict():
            for key, item in value.items():
                yield from _bad_numbers(source, (*path, key), item)


def _worded(
    source: TomlSource, path: KeyPath, rule: str, value: Any, error: Any
) -> Iterator[Diagnostic]:
    """Yield our wording of one violation; `error` is jsonschema's."""
    name = _name(path)
    match rule:
        case "additionalProperties":
            known = tuple(error.schema.get("properties", ()))
            for key in error.instance:
                if key not in known:
                    yield _unknown_key(source, (*path, key), known)
        case "required":
            missing = next(
                k for k in value if k not in error.instance and f"'{k}'" in error.message
            )
            yield source.finding("missing-key", f"{name} has no `{missing}`", path)
        case "type":
            names = value if isinstance(value, list) else [value]
            wanted = " or ".join(_TYPES[str(kind)] for kind in names)
            message = f"{name} must be {wanted}, not {_kind(error.instance)}"
            yield source.finding("wrong-type", message, path)
        case "enum":
            choices = ", ".join(f"`{v}`" for v in value)
            message = f"`{error.instance}` is not a value of {name}: it is one of {choices}"
            hint = did_you_mean(str(error.instance), [str(v) for v in value])
            yield source.finding("bad-value", message, path, help=hint)
        case _:
            wanted = error.schema.get("description")
            message = f"{name} is not {wanted}" if wanted else f"{name}: {error.message}"
            yield source.finding("bad-value", message, path)


def _unknown_key(source: TomlSource, path: KeyPath, known: tuple[str, ...]) -> Diagnostic:
    hint = did_you_mean(str(path[-1]), known)
    if hint is None and known:
        hint = "the keys here are " + ", ".join(f"`{k}`" for k in known)
    message = f"unknown key `{path[-1]}`" + (f" in {_name(path[:-1])}" if path[:-1] else "")
    return source.finding("unknown-key", message, path, key=True, help=hint)


_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a table",
}


def _kind(value: object) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"


def _name(path: KeyPath) -> str:
    words = [str(p) for p in path if isinstance(p, str)]
    return f"`{'.'.join(words)}`" if words else "the file"
