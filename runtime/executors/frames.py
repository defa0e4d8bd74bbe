"""`sample_frames` with OpenCV, and the way from an image back to pixels."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from ..media import Media, Scene
from .containers import unreadable, video_path
from .errors import ExecutorError

if TYPE_CHECKING:
    from cv2 import VideoCapture
    from cv2.typing import MatLike

_JPEG_QUALITY = 92  # text keeps its edges; about 1/8 of the size of PNG


def sample_frames(scene: Scene, *, frames: int = 5) -> list[Media]:
    """Take `frames` images (JPEG, full size), evenly spaced inside the scene, in time order.

    Each stands at the middle of its share of `[start, end)`, so that none falls on a cut. Fewer
    come back only where the video ends before the scene does. Raises `ExecutorError` where the
    scene is empty or its video cannot be read.
    """
    import cv2

    video, start, end = scene["video"], scene["start"], scene["end"]
    if frames < 1:
        raise ExecutorError(f"`frames` is {frames}; it must be at least 1")
    if not 0 <= start < end:
        raise ExecutorError(
            f"the scene [{start:g} s, {end:g} s) of `{video.name}` is empty; its end must come "
            "after its start"
        )
    share = (end - start) / frames
    moments = [start + (index + 0.5) * share for index in range(frames)]
    with video_path(video) as path:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        try:
            found = [_frame_at(capture, moment) for moment in moments]
        finally:
            capture.release()
    pixels = [image for image in found if image is not None]
    if not pixels:
        raise unreadable(video, f"no frame between {start:g} s and {end:g} s can be decoded")
    return [_encode(image) for image in pixels]


def pixels_of(image: Media) -> MatLike:
    """Decode an image to BGR bytes (rows, columns, 3); raises `ExecutorError` if it is none."""
    import cv2
    import numpy as np

    try:
        content = image.read()
    except OSError as error:
        raise ExecutorError(f"`{image.name}` cannot be read: {error.strerror}") from error
    _expect_moderate(image, content)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if decoded is None:
        raise ExecutorError(
            f"`{image.name}` is not an image that can be decoded; give PNG, JPEG, WebP or BMP"
        )
    return decoded


def _expect_moderate(image: Media, content: bytes) -> None:
    """Refuse an image whose pixels take far more room than its file, before they are unpacked."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(io.BytesIO(content)).close()  # reads no more than how large it is
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        message = f"`{image.name}` has over {most} million pixels; give a smaller one"
        raise ExecutorError(message) from None
    except (OSError, ValueError, SyntaxError):
        pass  # OpenCV has the last word on what is an image


def _frame_at(capture: VideoCapture, moment_s: float) -> MatLike | None:
    import cv2

    capture.set(cv2.CAP_PROP_POS_MSEC, moment_s * 1000)
    ok, image = capture.read()
    return image if ok else None


def _encode(image: MatLike) -> Media:
    import cv2

    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Media("image", data=data.tobytes())
