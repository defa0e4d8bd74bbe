"""Text and people in pictures."""

from collections.abc import Callable

import pytest

from murakkab.runtime.executors.errors import ExecutorError
from murakkab.runtime.executors.frames import sample_frames
from murakkab.runtime.executors.ocr import read_text
from murakkab.runtime.executors.people import detect_objects
from murakkab.runtime.media import Media, Scene


def test_text_comes_in_reading_order_and_once(written: Callable[..., Media]) -> None:
    first, second = written("GATE B12", "BOARDING"), written("gate b12", "CLOSED")
    assert read_text([first, second]) == "GATE B12\nBOARDING\nCLOSED"


def test_pictures_without_text_and_no_pictures_give_nothing(written: Callable[..., Media]) -> None:
    assert read_text([written()]) == ""
    assert read_text([]) == ""


def test_reading_names_a_frame_that_is_no_picture() -> None:
    with pytest.raises(ExecutorError, match="`image of 3 bytes` is not an image"):
        read_text([Media("image", data=b"abc")])


def test_the_guest_of_the_station_is_seen_and_letters_are_not_people(station: Media) -> None:
    restaurant = sample_frames(Scene(video=station, start=17.0, end=21.5), frames=2)
    departures = sample_frames(Scene(video=station, start=4.5, end=8.0), frames=2)
    assert detect_objects(restaurant) == ["person"]
    assert detect_objects(departures) == []
    assert detect_objects([]) == []


def test_a_picture_smaller_than_a_person_shows_none() -> None:
    import cv2
    import numpy as np

    tiny = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
    assert detect_objects([Media("image", data=tiny)]) == []
