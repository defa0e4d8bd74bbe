"""Reading source files: the one place where bytes become program text."""

from __future__ import annotations

from pathlib import Path

from ..ir.diagnostics import CompileError, Diagnostic, InputError, Span

MAX_BYTES = 1 << 20  # a workflow is written by people; a megabyte is a mistake


def read_source(path: str | Path) -> str:
    """Return the text of a `.mkb` file: UTF-8, with or without a byte order mark.

    Raises InputError (`no-such-file`, `unreadable-file`) when the file cannot be read and
    CompileError (`source-too-large`, `not-utf8`, `nul-byte`) when it holds no program text.
    """
    name = str(path)
    data = _read(Path(path), name)
    if len(data) > MAX_BYTES:
        raise CompileError(
            [
                Diagnostic(
                    "source-too-large",
                    f"the file is larger than {MAX_BYTES // (1 << 20)} MiB",
                    Span(name, 1, 1, 1, 2),
                    help="split it: a file can `import` others beside or below it",
                )
            ]
        )
    return decode_source(data, name)


def decode_source(data: bytes, path: str) -> str:
    """Return the text of source bytes; CompileError (`not-utf8`, `nul-byte`) says where not."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    data = data[start:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        message = f"byte 0x{data[error.start]:02x} is not UTF-8 text"
        found = Diagnostic("not-utf8", message, _after(before, path), help=_encoding_help(data))
        raise CompileError([found]) from error
    nul = text.find("\0")
    if nul >= 0:
        message = "the file holds a NUL byte"
        found = Diagnostic("nul-byte", message, _after(text[:nul], path), help=_encoding_help(data))
        raise CompileError([found])
    return text


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        found = Diagnostic("no-such-file", f"there is no file `{name}`")
        raise InputError(found) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        found = Diagnostic("unreadable-file", f"cannot read `{name}`: {reason.lower()}")
        raise InputError(found) from error


def _after(text: str, path: str) -> Span:
    line = text.count("\n") + 1
    column = len(text) - text.rfind("\n")
    return Span(path, line, column, line, column + 1)


def _encoding_help(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "this looks like UTF-16: save the file as UTF-8"
    return "save the file as UTF-8 text"
