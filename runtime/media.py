"""Images, sounds, videos and files as values that flow between steps."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, TypedDict

MediaKind = Literal["image", "audio", "video", "file"]


@dataclass(frozen=True)
class Media:
    """A medium, either a file on this machine (`path`) or its content (`data`), never both.

    Equality compares path and bytes as given; use `digest()` to compare content.
    """

    kind: MediaKind
    path: str | None = None
    data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a medium with no content or with two."""
        if (self.path is None) == (self.data is None):
            raise ValueError("a medium has exactly one of `path` and `data`")

    @property
    def name(self) -> str:
        """A name for messages: the path, or the kind and size where there is no path."""
        return (
            self.path if self.path is not None else f"{self.kind} of {len(self.data or b'')} bytes"
        )

    def read(self) -> bytes:
        """Return the content; raises `OSError` where the file cannot be read."""
        if self.data is not None:
            return self.data
        with open(self._path(), "rb") as file:
            return file.read()

    def digest(self) -> str:
        """Return the SHA-256 of the content in hexadecimal; raises `OSError` like `read`."""
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        with open(self._path(), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def file(self) -> Iterator[str]:
        """Give a local path with the content, valid inside the `with`: a temporary one for data."""
        if self.data is None:
            yield self._path()
            return
        with tempfile.TemporaryDirectory(prefix="murakkab-") as folder:
            path = os.path.join(folder, self.kind)
            with open(path, "wb") as file:
                file.write(self.data)
            yield path

    def _path(self) -> str:
        assert self.path is not None  # held by __post_init__
        return self.path


class Scene(TypedDict):
    """A stretch of a video, `[start, end)` in seconds from its beginning."""

    video: Media
    start: float
    end: float
