"""`split_scenes` with PySceneDetect."""

from __future__ import annotations

from ..media import Media, Scene
from .containers import unreadable, video_path

# A flash or a fast pan is not a scene; PySceneDetect's own default is 15 frames, 0.6 s at 25 fps.
_SHORTEST_SCENE_S = 0.6


def split_scenes(video: Media, *, threshold: float = 27.0) -> list[Scene]:
    """Split a video at its cuts; a video without cuts is one scene.

    A cut is where the mean difference of hue, saturation and brightness between two frames, on
    0 to 255, exceeds `threshold` (PySceneDetect's `ContentDetector`; 27 is its default, lower finds
    more cuts). The scenes cover the video without gaps, in order. Slow fades are not found.
    Raises `ExecutorError` where the file is not a video.
    """
    from scenedetect import ContentDetector, detect

    with video_path(video) as path:
        detector = ContentDetector(threshold=threshold, min_scene_len=_SHORTEST_SCENE_S)
        # The same decoder as the check above: OpenCV's would write its complaints to stderr.
        cuts = detect(path, detector, start_in_scene=True, backend="pyav")
    if not cuts:
        raise unreadable(video, "its video track holds no frame that can be decoded")
    return [Scene(video=video, start=start.seconds, end=end.seconds) for start, end in cuts]
