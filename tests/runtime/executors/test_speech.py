"""Speech of a scene and of a recording."""

import io
import math
import struct
import wave

import pytest

from murakkab.runtime.executors.errors import ExecutorError
from murakkab.runtime.executors.speech import transcribe, transcribe_audio
from murakkab.runtime.media import Media, Scene

RESTAURANT = "the restaurant on the second floor is closed today"


def wav(samples: list[int], rate: int) -> Media:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return Media("audio", data=file.getvalue())


def test_a_scene_is_heard_from_its_start_to_its_end(station: Media) -> None:
    restaurant = Scene(video=station, start=17.0, end=21.5)
    bakery = Scene(video=station, start=12.0, end=17.0)
    alone = transcribe(restaurant)
    assert alone == RESTAURANT
    assert "bakery" in transcribe(bakery)
    assert transcribe(restaurant) == alone  # whatever was heard in between


def test_a_scene_without_speech_gives_nothing(station: Media) -> None:
    assert transcribe(Scene(video=station, start=4.5, end=8.0)) == ""


def test_an_audio_file_is_heard_whole(station: Media) -> None:
    lines = transcribe_audio(Media("audio", path=station.path)).splitlines()
    assert lines[-1] == RESTAURANT
    assert len(lines) >= 3


def test_silence_and_a_tone_at_another_rate_hold_no_sentence() -> None:
    tone = [round(8000 * math.sin(2 * math.pi * 440 * i / 44_100)) for i in range(44_100)]
    assert transcribe_audio(wav([0] * 8000, 8000)) == ""
    assert len(transcribe_audio(wav(tone, 44_100)).split()) <= 3


def test_a_file_without_sound_is_named() -> None:
    with pytest.raises(ExecutorError, match="`audio of 4 bytes` cannot be read as audio"):
        transcribe_audio(Media("audio", data=b"abcd"))
