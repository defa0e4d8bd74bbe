"""CSV files of the user's: their rows, with the lines they stand in."""

from __future__ import annotations

import csv
import io

from ..ir.diagnostics import Diagnostic, InputError, Span


def csv_rows(text: str, file: str, id: str) -> list[tuple[int, list[str]]]:
    """Return each row's cells and the line it ends in, the header's too.

    Raises InputError, a diagnostic of this `id`, where the text is no CSV.
    """
    reader = csv.reader(io.StringIO(text))
    try:
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        message = f"malformed CSV: {error}"
        raise InputError(Diagnostic(id, message, line_span(file, reader.line_num))) from None


def line_span(file: str, line: int) -> Span:
    """Return the place of a whole line."""
    return Span(file, line, 1, line, 2)
