"""Chat completions that come as server-sent events, gathered into the form of a whole answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

# Takes the next piece of an answer's text; a piece may be empty, where a token is no character yet.
Hear = Callable[[str], None]


class StreamError(Exception):
    """An error in the place of an event; its text is the event's."""


class Gathered:
    """The events of one completion (OpenAI API reference, "chat completion chunk object")."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._pieces: dict[str, list[str]] = {"content": [], "refusal": []}
        self._finish_reason: str | None = None
        self._usage: Any = None

    def take(self, event: str) -> str | None:
        """Take the data of an event; returns the piece of the answer's text that it holds.

        None is an event without a token: one that says whose turn it is, or what was used. Raises
        `StreamError` for an error that the server reports, ValueError for what is no event of a
        completion.
        """
        try:
            document = json.loads(event)
            if document.get("error") is not None:
                raise StreamError(event)
            self._usage = document.get("usage") or self._usage
            pieces = [self._choice(choice) for choice in document.get("choices", ())]
            told = [piece for piece in pieces if piece is not None]
            return "".join(told) if told else None
        except (LookupError, TypeError, AttributeError, RecursionError):
            raise ValueError(event) from None

    def _choice(self, choice: dict[str, Any]) -> str | None:
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = choice.get("delta") or {}
        for kind, pieces in self._pieces.items():
            pieces.append(delta.get(kind) or "")
        text = self._pieces["content"][-1]
        # most servers begin with the role, and end with an empty `delta`; thoughts are tokens too
        return text if text or (delta and "role" not in delta) else None

    @property
    def complete(self) -> bool:
        """Whether the model has ended its answer."""
        return self._finish_reason is not None

    def document(self) -> dict[str, Any]:
        """Return what the server would have answered had it not been asked for events."""
        message = {kind: "".join(pieces) or None for kind, pieces in self._pieces.items()}
        choice = {"message": message, "finish_reason": self._finish_reason}
        return {"choices": [choice], "usage": self._usage}


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the data of server-sent events, up to the one that says `[DONE]`.

    (HTML Standard, section 9.2; of its fields only `data` matters here.)
    """
    lines: list[str] = []
    begun: list[bytes] = []  # the pieces of a line that has not ended
    async for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            if begun:
                line = b"".join([*begun, line])
                begun.clear()
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
            elif not line and lines:
                data = "\n".join(lines)
                lines.clear()
                if data == "[DONE]":
                    return
                yield data
        if rest:
            begun.append(rest)
