"""The sound of a medium as samples that speech models take."""

from __future__ import annotations

from ..media import Media
from .containers import opened, unreadable

RATE_HZ = 16_000  # what speech models are trained on
BYTES_PER_S = 2 * RATE_HZ  # mono, 16 bits


def samples(media: Media, start_s: float = 0.0, end_s: float | None = None) -> bytes:
    """Decode the first sound track from `start_s` to `end_s` to 16 kHz mono 16-bit samples.

    Little-endian, without a header; empty for a video without sound. Raises `ExecutorError` where
    the medium cannot be read, or is meant to be a recording and has no sound.
    """
    import av

    with opened(media) as container:
        if not container.streams.audio:
            if media.kind == "audio":
                raise unreadable(media, "it has no sound track")
            return b""
        track = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        if start_s > 0:
            container.seek(int(start_s * av.time_base))
        first_s: float | None = None
        chunks: list[bytes] = []
        try:
            for frame in container.decode(track):
                if end_s is not None and frame.time is not None and frame.time >= end_s:
                    break
                first_s = first_s if first_s is not None else float(frame.time or 0.0)
                chunks += [
                    bytes(part.planes[0])[: 2 * part.samples] for part in resampler.resample(frame)
                ]
        except av.FFmpegError as error:
            raise unreadable(media, f"its sound track breaks off: {error.strerror}") from error
    if first_s is None:
        return b""
    sound = b"".join(chunks)
    begin = _offset(start_s - first_s)
    return sound[begin:] if end_s is None else sound[begin : _offset(end_s - first_s)]


def _offset(seconds: float) -> int:
    return max(0, round(seconds * RATE_HZ)) * (BYTES_PER_S // RATE_HZ)
