"""`detect_objects` with OpenCV's built-in detector of people."""

from __future__ import annotations

from ..media import Media
from .frames import pixels_of

# The detector looks through windows of 64 by 128 pixels; larger images only cost time.
_LONGEST_SIDE = 640
_WINDOW = (64, 128)


def detect_objects(frames: list[Media], *, min_confidence: float = 1.5) -> list[str]:
    """Name the objects seen: this detector knows upright people and nothing else.

    Returns `["person"]` or `["2 people"]`, by the most seen in one frame, or `[]`. Histograms of
    oriented gradients with a linear SVM (Dalal and Triggs, CVPR 2005), as trained and shipped in
    OpenCV 4: it misses people who sit, are cut off or smaller than 128 pixels, and takes poles for
    people now and then. `min_confidence` is the SVM's margin. Raises `ExecutorError` where a frame
    is not an image.
    """
    most = max((_people(frame, min_confidence) for frame in frames), default=0)
    if most == 0:
        return []
    return ["person"] if most == 1 else [f"{most} people"]


def _people(frame: Media, min_confidence: float) -> int:
    import cv2
    import numpy as np

    image = pixels_of(frame)
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    if scale < 1.0:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    if image.shape[1] < _WINDOW[0] or image.shape[0] < _WINDOW[1]:
        return 0
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()))
    boxes, weights = detector.detectMultiScale(image, winStride=(8, 8), scale=1.05)
    if len(boxes) == 0:
        return 0
    scores = [float(weight) for weight in np.ravel(weights)]
    # Neighbouring scales report the same person again: keep the best of what overlaps.
    kept = cv2.dnn.NMSBoxes([list(map(int, box)) for box in boxes], scores, min_confidence, 0.4)
    return len(kept)
