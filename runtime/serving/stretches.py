"""A stretch of a video as a video of its own, with PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from ..executors.containers import opened, unreadable
from ..executors.errors import ExecutorError
from ..media import Media

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_TICK_S = Fraction(1, 1000)
# Nearly without loss: models look at single frames. The time of a call is not worth a better size.
_X264 = {"crf": "18", "preset": "veryfast"}


def stretch(video: Media, start_s: float, end_s: float) -> Media:
    """Return what is seen in `[start_s, end_s)`, as MP4 without sound; all of it is `video` itself.

    Cut at the frame, so encoded anew: keyframes, where a copy could begin, are seconds apart.
    Raises `ExecutorError` where the stretch is empty or the video cannot be read, and
    ModuleNotFoundError without PyAV.
    """
    import av

    if not 0 <= start_s < end_s:
        raise ExecutorError(
            f"the scene [{start_s:g} s, {end_s:g} s) of `{video.name}` is empty; its end must come "
            "after its start"
        )
    with opened(video) as source:
        if not source.streams.video:
            raise unreadable(video, "it has no video track")
        if start_s == 0 and source.duration is not None and end_s * av.time_base >= source.duration:
            return video
        try:
            content = _encoded(source, _frames(source, start_s, end_s))
        except av.FFmpegError as error:
            raise unreadable(video, f"its video track breaks off: {error.strerror}") from error
    if content is None:
        raise unreadable(video, f"no frame between {start_s:g} s and {end_s:g} s can be decoded")
    return Media("video", data=content)


def _frames(source: InputContainer, start_s: float, end_s: float) -> Iterator[VideoFrame]:
    import av

    source.seek(int(start_s * av.time_base))
    for frame in source.decode(source.streams.video[0]):
        if frame.time is None or frame.time < start_s:
            continue
        if frame.time >= end_s:
            return
        yield frame


def _encoded(source: InputContainer, frames: Iterator[VideoFrame]) -> bytes | None:
    import av

    track = source.streams.video[0]
    # half as many colour samples each way: the sides must be even
    width, height = track.width - track.width % 2, track.height - track.height % 2
    content = io.BytesIO()
    first_s: float | None = None
    with av.open(content, mode="w", format="mp4") as target:
        out = target.add_stream("libx264", rate=track.average_rate or 25, options=_X264)
        out.width, out.height, out.pix_fmt = width, height, "yuv420p"
        out.codec_context.time_base = _TICK_S
        for frame in frames:
            first_s = frame.time if first_s is None else first_s
            picture = frame.reformat(width=width, height=height, format="yuv420p")
            picture.pts = round((frame.time - first_s) / _TICK_S)
            picture.time_base = _TICK_S
            picture.pict_type = 0  # where the source had its keyframes does not matter
            target.mux(out.encode(picture))
        if first_s is not None:
            target.mux(out.encode())
    return None if first_s is None else content.getvalue()
