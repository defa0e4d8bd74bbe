"""What a speech model is sent: a recording as it is, or the sound of a scene as a WAV file."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import Any

from ..errors import CallFailed
from ..executors.errors import ExecutorError
from ..executors.sound import RATE_HZ, samples
from ..media import Media
from ..program import Step
from .parts import content_of, is_scene

_SHORTEST_S = 0.05  # servers refuse files without sound, and in less than this nothing is said


def audio_file(step: Step, arguments: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """Return the name and content of the file to transcribe, None where there is nothing to hear.

    The one argument is a recording, sent as it is, or a scene (`transcribe(scene)`), of which the
    stretch is sent as 16 kHz mono WAV. A scene without sound has no words: its transcript is "".
    Raises `CallFailed` where the medium cannot be read.
    """
    values = list(arguments.values())
    value = values[0] if len(values) == 1 else None
    if isinstance(value, Media) and value.kind == "audio":
        form, content = content_of(value)
        return f"audio.{form}", content
    if not is_scene(value):
        raise CallFailed(
            f"`{step.task.name}` cannot be transcribed: speech models take one Audio, or a scene "
            "{ video: Video, start: Float, end: Float }"
        )
    sound = _heard(value)
    return ("scene.wav", _wav(sound)) if len(sound) >= _SHORTEST_S * RATE_HZ * 2 else None


def _heard(scene: Mapping[str, Any]) -> bytes:
    try:
        return samples(scene["video"], scene["start"], scene["end"])
    except ModuleNotFoundError as error:
        raise CallFailed(
            f"the sound of a scene is cut out with the module `{error.name}`, which is missing",
            help="install it with `pip install 'murakkab[local]'`",
        ) from None
    except ExecutorError as error:
        raise CallFailed(error.message) from error


def _wav(sound: bytes) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(sound)
    return content.getvalue()
