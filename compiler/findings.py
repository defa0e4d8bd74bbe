"""The list that a stage's diagnostics go to."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.diagnostics import Diagnostic, Label, Span, did_you_mean

# Looking for the nearest spelling costs time in proportion to the names known; a file with more
# wrong names than this is wrong in some other way.
_SUGGESTIONS = 50


class Findings:
    """Collects diagnostics; erroneous work goes on, so that all independent errors are found."""

    def __init__(self) -> None:
        """Start with none."""
        self.diagnostics: list[Diagnostic] = []
        self._suggestions_left = _SUGGESTIONS

    def error(
        self, id: str, message: str, span: Span, *labels: Label, help: str | None = None
    ) -> None:
        """Add an error."""
        self.diagnostics.append(Diagnostic(id, message, span, "error", labels, help))

    def warn(
        self, id: str, message: str, span: Span, *labels: Label, help: str | None = None
    ) -> None:
        """Add a warning."""
        self.diagnostics.append(Diagnostic(id, message, span, "warning", labels, help))

    def suggest(self, name: str, known: Iterable[str]) -> str | None:
        """Return a `help:` text with the nearest known spelling, if there is one."""
        if self._suggestions_left == 0:
            return None
        self._suggestions_left -= 1
        return did_you_mean(name, known)

    @property
    def failed(self) -> bool:
        """Whether an error has been found so far."""
        return any(d.severity == "error" for d in self.diagnostics)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The errors found so far."""
        return tuple(d for d in self.diagnostics if d.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings found so far, in source order."""
        found = (d for d in self.diagnostics if d.severity == "warning")
        return tuple(sorted(found, key=lambda d: d.sort_key))
