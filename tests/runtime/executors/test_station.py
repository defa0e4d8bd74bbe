"""The whole demo by hand: scenes, frames, text, speech, answer, on the shipped video."""

import pytest

from murakkab.runtime.executors.answering import answer
from murakkab.runtime.executors.frames import sample_frames
from murakkab.runtime.executors.ocr import read_text
from murakkab.runtime.executors.scenes import split_scenes
from murakkab.runtime.executors.speech import transcribe
from murakkab.runtime.media import Media


@pytest.fixture(scope="module")
def notes(station: Media) -> list[str]:
    scenes = split_scenes(station)
    return [f"{read_text(sample_frames(s, frames=1))}\n{transcribe(s)}" for s in scenes]


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("Which platform does the train to Lyon leave from?", "Platform 7"),
        ("When does the train to Geneva depart?", "15:10"),
        ("When does the bakery close?", "closes at nine in the evening"),
        ("Which floor is the restaurant on?", "second floor"),
    ],
)
def test_what_is_shown_and_what_is_said_is_found(
    notes: list[str], question: str, fact: str
) -> None:
    assert fact in answer(question, notes)
