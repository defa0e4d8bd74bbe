"""Opens video and audio files with PyAV (FFmpeg's libraries, inside the wheel)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..media import Media
from .errors import ExecutorError

if TYPE_CHECKING:
    from av.container import InputContainer

# What FFmpeg opens as a "video" although it is a picture or a text file.
_NOT_TIMED = frozenset({"image2", "png_pipe", "jpeg_pipe", "bmp_pipe", "webp_pipe", "tty"})
# What names other files, or addresses, to be opened in its place.
_LISTS = frozenset(
    {"concat", "dash", "hls", "imf", "lavfi", "rtsp", "sdp", "vapoursynth", "webm_dash_manifest"}
)


@contextmanager
def opened(media: Media) -> Iterator[InputContainer]:
    """Open a timed medium for reading; raises `ExecutorError` naming the file and the reason."""
    import av

    av.logging.set_level(av.logging.PANIC)  # FFmpeg would write its reasons to stderr
    with media.file() as path:
        try:
            # FFmpeg takes "http://…" and "concat:…" too; `file:` keeps a path a path.
            container = av.open(f"file:{path}", mode="r", options=_own_content())
        except (av.FFmpegError, OSError, ValueError) as error:
            raise unreadable(media, _reason(error)) from error
        with container:
            if container.format.name in _NOT_TIMED:
                raise unreadable(media, f"it is `{container.format.name}`, which has no duration")
            yield container


@contextmanager
def video_path(video: Media) -> Iterator[str]:
    """Give a local path to a file that has been checked to hold a video track."""
    with opened(video) as container:
        if not container.streams.video:
            raise unreadable(video, "it has no video track")
    with video.file() as path:
        yield path


def unreadable(media: Media, reason: str) -> ExecutorError:
    """Say that a medium cannot be read as what it is meant to be."""
    return ExecutorError(
        f"`{media.name}` cannot be read as {media.kind}: {reason}; "
        "give a file that a media player opens, such as MP4, WebM, WAV or FLAC"
    )


def _own_content() -> dict[str, str]:
    """Return the options with which FFmpeg opens the file it is given, and nothing else."""
    import av

    formats = sorted(av.formats_available - _LISTS)
    return {"format_whitelist": ",".join(formats), "protocol_whitelist": "file"}


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EINVAL:
        return "its format is unknown, or a list of other files"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
