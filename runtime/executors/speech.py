"""`transcribe` and `transcribe_audio` with PocketSphinx (US English model inside the wheel)."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from ..media import Media, Scene
from .containers import opened, unreadable

if TYPE_CHECKING:
    from pocketsphinx import Decoder

_RATE_HZ = 16_000  # what the acoustic model was trained on
_BYTES_PER_S = 2 * _RATE_HZ  # mono, 16 bits
_PAUSE_S = 1  # the segmenter needs silence to see where speech begins and ends
_DECODING = threading.Lock()  # a decoder has one state; processes, not threads, run side by side


def transcribe(scene: Scene, *, beam: float = 1e-48) -> str:
    """Return what is said in a scene of a video, one line an utterance, in lower case.

    US English only; numbers come as words. Returns "" for a video without sound or speech. `beam`
    is how improbable a hypothesis may become, beside the best, before it is given up: nearer to 1
    is faster and worse. Raises `ExecutorError` where the video cannot be read.
    """
    return _recognise(_sound(scene["video"], scene["start"], scene["end"]), beam)


def transcribe_audio(audio: Media, *, beam: float = 1e-48) -> str:
    """Return what is said in a recording; like `transcribe`, for the whole of an audio file."""
    return _recognise(_sound(audio, 0.0, None), beam)


def _recognise(sound: bytes, beam: float) -> str:
    from pocketsphinx import Segmenter

    # Whole utterances, so that the volume is normalised over each and no word is cut in two.
    silence = bytes(_PAUSE_S * _BYTES_PER_S)
    utterances = Segmenter(sample_rate=_RATE_HZ).segment(io.BytesIO(silence + sound + silence))
    with _DECODING:
        decoder = _decoder(beam)
        lines = [_decode(decoder, utterance.pcm) for utterance in utterances]
    return "\n".join(line for line in lines if line)


def _decode(decoder: Decoder, sound: bytes) -> str:
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return best.hypstr if best is not None else ""


@lru_cache(maxsize=4)
def _decoder(beam: float) -> Decoder:
    from pocketsphinx import Decoder

    # `batch` normalisation looks at one utterance alone: a call's result must not depend on
    # what was heard before it.
    return Decoder(samprate=_RATE_HZ, beam=beam, cmn="batch", loglevel="FATAL")


def _sound(media: Media, start_s: float, end_s: float | None) -> bytes:
    """Decode the first sound track from `start_s` to `end_s` to 16 kHz mono 16-bit samples."""
    import av

    with opened(media) as container:
        if not container.streams.audio:
            if media.kind == "audio":
                raise unreadable(media, "it has no sound track")
            return b""
        track = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
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
    return max(0, round(seconds * _RATE_HZ)) * (_BYTES_PER_S // _RATE_HZ)
