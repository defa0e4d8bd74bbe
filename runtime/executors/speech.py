"""`transcribe` and `transcribe_audio` with PocketSphinx (US English model inside the wheel)."""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

from ..media import Media, Scene
from .sound import BYTES_PER_S, RATE_HZ, samples

if TYPE_CHECKING:
    from pocketsphinx import Decoder

_PAUSE_S = 1  # the segmenter needs silence to see where speech begins and ends
_DECODING = threading.Lock()  # a decoder has one state; processes, not threads, run side by side


def transcribe(scene: Scene, *, beam: float = 1e-48) -> str:
    """Return what is said in a scene of a video, one line an utterance, in lower case.

    US English only; numbers come as words. Returns "" for a video without sound or speech. `beam`
    is how improbable a hypothesis may become, beside the best, before it is given up: nearer to 1
    is faster and worse. Raises `ExecutorError` where the video cannot be read.
    """
    return _recognise(samples(scene["video"], scene["start"], scene["end"]), beam)


def transcribe_audio(audio: Media, *, beam: float = 1e-48) -> str:
    """Return what is said in a recording; like `transcribe`, for the whole of an audio file."""
    return _recognise(samples(audio), beam)


def _recognise(sound: bytes, beam: float) -> str:
    from pocketsphinx import Segmenter

    # Whole utterances, so that the volume is normalised over each and no word is cut in two.
    silence = bytes(_PAUSE_S * BYTES_PER_S)
    utterances = Segmenter(sample_rate=RATE_HZ).segment(io.BytesIO(silence + sound + silence))
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
    return Decoder(samprate=RATE_HZ, beam=beam, cmn="batch", loglevel="FATAL")
