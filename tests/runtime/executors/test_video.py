"""Scenes and frames of a real video, and of files that are none."""

import shutil
import struct
import zlib
from pathlib import Path

import pytest

from murakkab.runtime.executors.errors import ExecutorError
from murakkab.runtime.executors.frames import pixels_of, sample_frames
from murakkab.runtime.executors.scenes import split_scenes
from murakkab.runtime.media import Media, Scene


def test_the_station_has_its_five_scenes_without_gaps(station: Media) -> None:
    scenes = split_scenes(station)
    assert [round(scene["start"], 1) for scene in scenes] == [0.0, 4.5, 8.0, 12.0, 17.0]
    assert [scene["end"] for scene in scenes[:-1]] == [scene["start"] for scene in scenes[1:]]
    assert scenes[-1]["end"] == pytest.approx(21.5, abs=0.1)
    assert all(scene["video"] == station for scene in scenes)


def test_a_threshold_above_every_cut_leaves_one_scene(station: Media) -> None:
    (scene,) = split_scenes(station, threshold=255.0)
    assert (scene["start"], round(scene["end"], 1)) == (0.0, 21.5)


def test_a_video_held_as_bytes_is_split_like_its_file(station: Media) -> None:
    held = Media("video", data=station.read())
    assert [s["start"] for s in split_scenes(held)] == [s["start"] for s in split_scenes(station)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "invalid data"),
        (b"just some text, not a video\n" * 50, "cannot be read as video"),
        (b"\x00" * 4096, "invalid data"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_the_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "holiday.mp4"
    file.write_bytes(content)
    with pytest.raises(ExecutorError, match=reason) as caught:
        split_scenes(Media("video", path=str(file)))
    assert str(file) in str(caught.value)
    assert not caught.value.retryable


def test_a_missing_video_a_picture_and_a_cut_off_video_are_refused(
    tmp_path: Path, station: Media
) -> None:
    with pytest.raises(ExecutorError, match="no such file"):
        split_scenes(Media("video", path=str(tmp_path / "none.mp4")))
    (frame,) = sample_frames(Scene(video=station, start=0, end=1), frames=1)
    with pytest.raises(ExecutorError, match="cannot be read as video"):
        split_scenes(Media("video", data=frame.read()))
    with pytest.raises(ExecutorError, match="cannot be read as video"):
        split_scenes(Media("video", data=station.read()[:600]))


def test_a_name_that_ffmpeg_would_take_for_an_address_is_a_path(
    tmp_path: Path, station: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(station.path or "", tmp_path / "concat:a|b.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(split_scenes(Media("video", path="concat:a|b.mp4"))) == 5


def test_frames_are_as_many_as_asked_and_in_time_order(station: Media) -> None:
    frames = sample_frames(Scene(video=station, start=4.5, end=8.0), frames=4)
    pixels = [pixels_of(frame) for frame in frames]
    assert [image.shape for image in pixels] == [(360, 640, 3)] * 4
    # The red train moves to the right: its centre of mass grows from frame to frame.
    columns = [(image[300, :, 2] > 180).nonzero()[0].mean() for image in pixels]
    assert columns == sorted(columns)
    assert columns[-1] - columns[0] > 200


def test_frames_stay_inside_their_scene(station: Media) -> None:
    before, after = sample_frames(Scene(video=station, start=4.3, end=4.7), frames=2)
    assert pixels_of(before)[10, 10].tolist() != pixels_of(after)[10, 10].tolist()
    (dark,) = sample_frames(Scene(video=station, start=4.5, end=4.6), frames=1)
    assert pixels_of(dark)[10, 10].mean() < 40


def test_a_scene_past_the_end_or_without_length_is_refused(station: Media) -> None:
    with pytest.raises(ExecutorError, match="no frame between 100 s and 101 s"):
        sample_frames(Scene(video=station, start=100, end=101))
    with pytest.raises(ExecutorError, match="is empty"):
        sample_frames(Scene(video=station, start=3, end=3))
    with pytest.raises(ExecutorError, match="at least 1"):
        sample_frames(Scene(video=station, start=3, end=4), frames=0)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_bytes_that_are_no_image_are_refused(content: bytes) -> None:
    with pytest.raises(ExecutorError, match="is not an image"):
        pixels_of(Media("image", data=content))


def test_an_image_far_larger_than_its_file_is_not_unpacked() -> None:
    side = 20_000  # 400 million white pixels, in half a megabyte
    rows = zlib.compress((b"\x00" + b"\xff" * (side // 8)) * side, 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    assert len(content) < 1 << 20
    with pytest.raises(ExecutorError, match="has over 178 million pixels"):
        pixels_of(Media("image", data=content))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.mp4", "ffconcat version 1.0\nfile {}\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:60\n#EXTINF:60,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nm=video 9 RTP/AVP 33\n"),
    ],
)
def test_a_list_of_other_files_is_no_video(
    tmp_path: Path, station: Media, name: str, text: str
) -> None:
    assert station.path is not None
    shutil.copy(station.path, tmp_path / "private.mp4")
    (tmp_path / name).write_text(text.format("private.mp4"))
    with pytest.raises(ExecutorError, match="cannot be read as video"):
        split_scenes(Media("video", path=str(tmp_path / name)))
