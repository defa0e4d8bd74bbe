"""The demo's video, and pictures made on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest

from murakkab.runtime.media import Media

STATION = Path(__file__).parents[3] / "examples" / "video_qa" / "station.mp4"


@pytest.fixture(scope="session")
def station() -> Media:
    return Media("video", path=str(STATION))


@pytest.fixture
def written() -> Callable[..., Media]:
    """A white picture with lines of black text, as PNG."""

    def draw(*lines: str) -> Media:
        import cv2
        import numpy as np

        image = np.full((300, 640, 3), 255, np.uint8)
        for row, line in enumerate(lines):
            place = (30, 70 + row * 80)
            cv2.putText(image, line, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3)
        return Media("image", data=cv2.imencode(".png", image)[1].tobytes())

    return draw
