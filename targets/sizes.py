"""Statistical sizes of values: what formulas are evaluated over before any value exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..ir.types import Base, Enum, ListOf, Option, Record, Type

FACTS = ("tokens", "duration", "pixels", "bytes", "fps", "images", "len")

# Defaults where neither an expectation nor a profile says anything.
TEXT_TOKENS = 100.0
JSON_TOKENS = 200.0
IMAGE_PIXELS = 1280.0 * 720.0
IMAGE_BYTES = 300e3
VIDEO_SECONDS = 60.0
VIDEO_FPS = 25.0
VIDEO_BYTES_PER_S = 625e3  # 5 Mbit/s, a usual 720p stream
SCENE_SECONDS = 10.0
AUDIO_BYTES_PER_S = 32e3  # 16 kHz, 16 bit, one channel
FILE_BYTES = 1e6
LIST_LENGTH = 5.0
CHARACTERS_PER_TOKEN = 4.0
FIELD_TOKENS = 4.0  # `"name":` and a comma, in compact JSON
SCALAR_TOKENS = {"Int": 2.0, "Float": 4.0, "Bool": 1.0}


@dataclass(frozen=True, slots=True)
class Size:
    """How big a value is expected to be.

    tokens: of its own text. duration: seconds of a video, an audio, or a stretch of one.
    pixels: of an image or of one frame of a video. images: 1 for an image. length and item: of a
    list. fields: of a record, which may have a duration of its own (a scene has).
    """

    tokens: float = 0.0
    duration: float = 0.0
    pixels: float = 0.0
    bytes: float = 0.0
    fps: float = 0.0
    images: float = 0.0
    length: float = 0.0
    item: Size | None = None
    fields: tuple[tuple[str, Size], ...] = ()

    def field(self, name: str) -> Size | None:
        """Return the size of a record's field, or None where there is no such field."""
        return dict(self.fields).get(name)

    def total(self, fact: str) -> float:
        """Return a fact of the whole value; lists and records add up their parts.

        A record's field also costs the tokens of its name. `len` is a list's length or a text's
        characters. A record with a duration of its own has that one. `fps` does not add up.
        """
        if fact == "len":
            return self.length if self.item is not None else self.tokens * CHARACTERS_PER_TOKEN
        own = float(getattr(self, fact))
        if self.item is not None:
            inside = self.item.total(fact)
            return own + (inside if fact == "fps" else self.length * inside)
        if not self.fields or (fact == "duration" and own > 0):
            return own
        parts = [part.total(fact) for _, part in self.fields]
        if fact == "fps":
            return max(own, *parts)
        return own + sum(parts) + (FIELD_TOKENS * len(parts) if fact == "tokens" else 0.0)

    def with_fact(self, path: str, value: float) -> Size:
        """Return the size with one fact set: `tokens`, `len`, `item.duration`, `video.pixels`.

        Raises ValueError where the value has no such part.
        """
        head, _, rest = path.partition(".")
        if not rest:
            if head not in FACTS:
                raise ValueError(f"`{head}` is not a fact of a value")
            return self._with_own(head, value)
        if head == "item" and self.item is not None:
            return replace(self, item=self.item.with_fact(rest, value))
        part = self.field(head)
        if part is None:
            raise ValueError(f"the value has no part `{head}`")
        changed = part.with_fact(rest, value)
        return replace(self, fields=tuple((n, changed if n == head else s) for n, s in self.fields))

    def _with_own(self, fact: str, value: float) -> Size:
        match fact:
            case "tokens" if self.item is not None:
                return self._with_list_tokens(value)
            case "len":
                if self.item is None:
                    return replace(self, tokens=value / CHARACTERS_PER_TOKEN)
                return replace(self, length=value)
            case "tokens":
                return replace(self, tokens=value)
            case "duration":
                return replace(self, duration=value)
            case "pixels":
                return replace(self, pixels=value)
            case "bytes":
                return replace(self, bytes=value)
            case "images":
                return replace(self, images=value)
        return replace(self, fps=value)

    def _with_list_tokens(self, value: float) -> Size:
        if self.item is None or self.length == 0:
            return self
        return replace(self, item=self.item.with_fact("tokens", value / self.length))


def default_size(kind: Type) -> Size:
    """Return the size assumed of a value of a type when nothing is known about it.

    An optional value is assumed present. A record that names a stretch of a video (`video`,
    `start`, `end`) has that stretch's duration.
    """
    match kind:
        case Base(name):
            return _base_size(name)
        case Enum():
            return Size(tokens=SCALAR_TOKENS["Int"])
        case Option(item):
            return default_size(item)
        case ListOf(item):
            return Size(length=LIST_LENGTH, item=default_size(item))
        case Record(fields):
            sizes = tuple((name, default_size(part)) for name, part in fields)
            stretch = {"start", "end"} <= {name for name, _ in fields}
            return Size(fields=sizes, duration=SCENE_SECONDS if stretch else 0.0)


def is_bounded(kind: Type) -> bool:
    """Tell whether values of a type are about as long as the type says: they hold no free text."""
    match kind:
        case Base(name):
            return name in SCALAR_TOKENS
        case Enum():
            return True
        case Option(item) | ListOf(item):
            return is_bounded(item)
        case Record(fields):
            return all(is_bounded(part) for _, part in fields)


def _base_size(name: str) -> Size:
    match name:
        case "Text":
            return Size(tokens=TEXT_TOKENS)
        case "Json":
            return Size(tokens=JSON_TOKENS)
        case "Image":
            return Size(pixels=IMAGE_PIXELS, bytes=IMAGE_BYTES, images=1.0)
        case "Video":
            size = VIDEO_SECONDS * VIDEO_BYTES_PER_S
            return Size(duration=VIDEO_SECONDS, pixels=IMAGE_PIXELS, fps=VIDEO_FPS, bytes=size)
        case "Audio":
            return Size(duration=VIDEO_SECONDS, bytes=VIDEO_SECONDS * AUDIO_BYTES_PER_S)
        case "File" | "Index":
            return Size(bytes=FILE_BYTES)
    return Size(tokens=SCALAR_TOKENS.get(name, 0.0))


def rendered(parts: Iterable[Size], *, literal_tokens: float = 0.0) -> Size:
    """Return the size of a prompt made of literal text and inserted values, in total.

    This is what executors of the interface `generate` see as their one parameter, `prompt`.
    """
    found = tuple(parts)
    return Size(
        tokens=literal_tokens + sum(part.total("tokens") for part in found),
        duration=sum(part.total("duration") for part in found),
        pixels=sum(part.total("pixels") for part in found),
        bytes=sum(part.total("bytes") for part in found),
        images=sum(part.total("images") for part in found),
    )
