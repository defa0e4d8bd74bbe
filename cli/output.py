"""What a command says and where: results on stdout, diagnostics on stderr, or one JSON document."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from ..ir.diagnostics import Diagnostic, InputError
from .render import render, summary

_MAX_SHOWN = 4 << 20  # a bigger file is not read again only to quote a line of it
_MOST_READ = 256 << 20  # bytes of an input; devices have no end
_MOST_SHOWN = 200  # findings of one report: nobody reads more, and a document has them all
_PACKAGE = Path(__file__).parent.parent


@dataclass
class Output:
    """The voice of one command; it is the `obj` of click's context.

    `sources` holds texts that cannot be read from the file of their name, such as stdin's.
    """

    as_json: bool = False
    debug: bool = False
    sources: dict[str, str] = field(default_factory=dict)
    kept: list[Diagnostic] = field(default_factory=list)
    _lines: dict[str, list[str] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Output:
        """Read the flags that matter even when the rest of the command line is wrong."""
        flags = list(arguments)
        if "--" in flags:
            flags = flags[: flags.index("--")]
        as_json = (
            "--json" in flags or "--format=json" in flags or ("--format", "json") in pairwise(flags)
        )
        return cls(as_json=as_json, debug="--debug" in flags)

    def report(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Show findings on stderr, or keep them for the document."""
        found = list(diagnostics)
        self.kept += found
        if self.as_json:
            return
        for diagnostic in found[:_MOST_SHOWN]:
            self.aside(render(diagnostic, self.lines) + "\n")
        if len(found) > 1:
            cut = f"; these are the first {_MOST_SHOWN}" if len(found) > _MOST_SHOWN else ""
            self.aside(f"found {summary(found)}{cut}")

    def result(self, text: str, document: Mapping[str, Any]) -> None:
        """Print a command's result: the text, or the document with the findings kept so far."""
        if self.as_json:
            self.document(document)
        elif text:
            echo(text)

    def document(self, fields: Mapping[str, Any]) -> None:
        """Print the one JSON document of this command."""
        whole = {"diagnostics": [d.as_dict() for d in self.kept], **fields}
        echo(json.dumps(whole, indent=2, ensure_ascii=False, default=str))

    def aside(self, text: str) -> None:
        """Print something that is not the result: on stderr, and not at all beside JSON."""
        if not self.as_json:
            with suppress(OSError):  # nobody reads it any more: what is done goes on
                echo(text, err=True)

    def product(
        self, kind: str, text: str, to: str | None, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Deliver a text that a command makes: into file `to`, else on stdout or in the document.

        `kind` is its key there; a JSON text stands in the document as what it says.
        """
        if to is not None and to != "-":
            self.write(to, text)
            content: dict[str, Any] = {"written": to}
        else:
            content = {kind: json.loads(text) if kind in ("plan", "run") else text}
        if self.as_json:
            self.document({**content, **(extra or {})})
        elif "written" not in content:
            self.write("-", text)

    def write(self, target: str, text: str) -> None:
        """Write to a file, or to stdout for `-`; InputError where that fails."""
        if target == "-":
            echo(text, nl=not text.endswith("\n"))
            return
        try:
            Path(target).write_text(text, encoding="utf-8", newline="\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"cannot write `{target}`: {reason.lower()}"
            raise InputError(Diagnostic("unwritable-file", message)) from error

    def lines(self, file: str) -> list[str] | None:
        """Return the lines of a file that a span names, or None where they are not to be had."""
        if file not in self._lines:
            text = self._text(file)
            self._lines[file] = None if text is None else text.split("\n")
        return self._lines[file]

    def _text(self, file: str) -> str | None:
        if file in self.sources:
            return self.sources[file]
        path = _PACKAGE / "compiler" / file if file.startswith("std/") else Path(file)
        try:
            if not path.is_file() or path.stat().st_size > _MAX_SHOWN:
                return None
            return path.read_bytes().decode("utf-8-sig", errors="replace")
        except (OSError, ValueError):
            return None


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text; colours only where there is a terminal and `NO_COLOR` is not set."""
    click.echo(text, err=err, nl=nl, color=False if os.environ.get("NO_COLOR") else None)


def read_input(name: str, output: Output) -> str:
    """Return the text of a file, or of stdin for `-`; InputError where it cannot be read."""
    try:
        if name == "-":
            output.sources["<stdin>"] = sys.stdin.read()
            return output.sources["<stdin>"]
        with open(name, "rb") as file:
            content = file.read(_MOST_READ + 1)
        if len(content) <= _MOST_READ:
            return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(Diagnostic("no-such-file", f"there is no file `{name}`")) from error
    except (OSError, ValueError) as error:
        strerror = getattr(error, "strerror", None)
        reason = strerror.lower() if strerror else "it is not UTF-8 text"
        message = f"cannot read `{name}`: {reason}"
        raise InputError(Diagnostic("unreadable-file", message)) from error
    message = f"cannot read `{name}`: it has more than {_MOST_READ >> 20} MiB"
    raise InputError(Diagnostic("unreadable-file", message))
