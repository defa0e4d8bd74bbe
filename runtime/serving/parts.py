"""Media as parts of a chat message: what a file is by its first bytes, and data URLs of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from ..errors import CallFailed
from ..executors.errors import ExecutorError
from ..media import Media
from .stretches import stretch

# (offset, bytes there, MIME type): the signatures of the file formats' own specifications, the
# more specific before the less.
_SIGNATURES: Final[Mapping[str, tuple[tuple[int, bytes, str], ...]]] = {
    "image": (
        (0, b"\x89PNG\r\n\x1a\n", "image/png"),
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (0, b"BM", "image/bmp"),
        (0, b"II*\x00", "image/tiff"),
        (0, b"MM\x00*", "image/tiff"),
        (4, b"ftypavif", "image/avif"),
        (4, b"ftyphei", "image/heic"),
    ),
    "audio": (
        (8, b"WAVE", "audio/wav"),
        (0, b"ID3", "audio/mp3"),
        (0, b"fLaC", "audio/flac"),
        (0, b"OggS", "audio/ogg"),
        (4, b"ftypM4A", "audio/m4a"),
        (4, b"ftyp", "audio/mp4"),
        (0, b"\x1aE\xdf\xa3", "audio/webm"),
        # MPEG audio without tags; the bits after the sync word say layer III, or AAC (ADTS)
        (0, b"\xff\xfb", "audio/mp3"),
        (0, b"\xff\xf3", "audio/mp3"),
        (0, b"\xff\xf2", "audio/mp3"),
        (0, b"\xff\xfa", "audio/mp3"),
        (0, b"\xff\xf1", "audio/aac"),
        (0, b"\xff\xf9", "audio/aac"),
    ),
    "video": (
        (4, b"ftypqt", "video/quicktime"),
        (4, b"ftyp", "video/mp4"),
        (0, b"\x1aE\xdf\xa3", "video/webm"),  # Matroska too
        (8, b"AVI ", "video/x-msvideo"),
        (0, b"OggS", "video/ogg"),
        (0, b"FLV", "video/x-flv"),
        (0, b"\x00\x00\x01\xba", "video/mpeg"),
        (0, b"\x00\x00\x01\xb3", "video/mpeg"),
        (0, b"G", "video/mp2t"),
    ),
}
_ADVICE = {
    "image": "give PNG, JPEG, WebP or GIF",
    "audio": "give WAV, MP3, FLAC or Ogg",
    "video": "give MP4 or WebM",
}


def content_of(media: Media) -> tuple[str, bytes]:
    """Return the format of a medium by its content (`png`, `wav`, `mp4`) and the content.

    Raises `CallFailed` where it cannot be read, or is not what it is meant to be.
    """
    if media.kind not in _SIGNATURES:
        raise CallFailed(
            f"`{media.name}` is a file, and models take only text, images, sounds and videos",
            help="read it in a step of its own, and give the model what it holds",
        )
    try:
        content = media.read()
    except OSError as error:
        raise CallFailed(f"`{media.name}` cannot be read: {error.strerror or error}") from error
    for offset, signature, mime in _SIGNATURES[media.kind]:
        if content.startswith(signature, offset):
            return mime.partition("/")[2], content
    what = "is empty" if not content else f"is not {_AN[media.kind]} of a known format"
    raise CallFailed(f"`{media.name}` {what}", help=_ADVICE[media.kind])


_AN = {"image": "an image", "audio": "a sound", "video": "a video"}


def media_part(media: Media) -> dict[str, Any]:
    """Return a medium as a part of a message; raises `CallFailed` like `content_of`.

    Images and sounds have OpenAI's form, videos vLLM's (`video_url`), which SGLang shares.
    """
    form, content = content_of(media)
    data = base64.b64encode(content).decode("ascii")
    if media.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    kind = f"{media.kind}_url"
    return {"type": kind, kind: {"url": f"data:{media.kind}/{form};base64,{data}"}}


def is_scene(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value is a stretch of a video: std/media's record, by structure."""
    return (
        isinstance(value, dict)
        and value.keys() == {"video", "start", "end"}
        and isinstance(value["video"], Media)
        and type(value["start"]) in (int, float)
        and type(value["end"]) in (int, float)
    )


def scene_shown(scene: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a scene with its video cut to what happens in it, without sound.

    Without PyAV the video stays whole: the times that stand beside it tell the model where to
    look. Raises `CallFailed` where the video cannot be read.
    """
    try:
        video = stretch(scene["video"], scene["start"], scene["end"])
    except ModuleNotFoundError:
        return scene
    except ExecutorError as error:
        raise CallFailed(error.message) from error
    return {**scene, "video": video}
