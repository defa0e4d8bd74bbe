"""What a model reads: the text of a prompt, and media in the places of their placeholders."""

import base64
import io
import json
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from murakkab.ir.ops import Value
from murakkab.ir.types import TEXT, Base, ListOf, Record, Type
from murakkab.ir.workflow import Task
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.media import Media
from murakkab.runtime.program import Step
from murakkab.runtime.serving.audio import audio_file
from murakkab.runtime.serving.prompting import chat_messages, input_text
from murakkab.runtime.values import checker
from murakkab.targets.library import Executor, Quality

STATION = Media("video", path=str(Path(__file__).parents[3] / "examples/video_qa/station.mp4"))
JPEG = Media("image", data=b"\xff\xd8\xff\xe0 a photograph")
PNG = Media("image", data=b"\x89PNG\r\n\x1a\n a drawing")
WAV = Media("audio", data=b"RIFF\x00\x00\x00\x00WAVEfmt ")


def executor(prompt: str | None = None, system: str | None = None) -> Executor:
    quality = Quality(1.0, "relative", "test")
    return Executor(
        "tiny-classify", "classify", "", "vllm", ("gpu",), quality, prompt=prompt, system=system
    )


def step(
    params: dict[str, Type], *binding: str, prompt: str | None = None, system: str | None = None
) -> Step:
    values = tuple(Value(name, kind) for name, kind in params.items())
    return Step(
        name="label",
        task=Task("label", values, TEXT, prompt=prompt, system=system),
        engine="e",
        executor="tiny-classify",
        params=binding or tuple(params),
        knobs={},
        repeatable=True,
        check=checker(TEXT),
    )


def asked(prompt: str, kind: Type, value: Any) -> Any:
    """Return the content of the message that a task's own prompt becomes for `{x}`."""
    found = chat_messages(executor(), step({"x": kind}, prompt=prompt), {"x": value})
    assert len(found) == 1 and found[0]["role"] == "user"
    return found[0]["content"]


def image(media: Media, kind: str) -> dict[str, Any]:
    data = base64.b64encode(media.read()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


# ---- which text


def test_a_task_with_a_prompt_speaks_of_its_own_parameters() -> None:
    call = step(
        {"mail": TEXT, "kinds": ListOf(TEXT)},
        *("text", "labels"),
        prompt="{mail}: {kinds}?",
        system="Sort {kinds}.",
    )
    arguments = {"text": "Hi", "labels": ["a", "b"]}
    assert chat_messages(executor("{text}", "no"), call, arguments) == [
        {"role": "system", "content": 'Sort ["a","b"].'},
        {"role": "user", "content": 'Hi: ["a","b"]?'},
    ]


def test_a_task_without_one_is_put_in_the_words_of_the_library() -> None:
    call = step({"mail": TEXT, "kinds": ListOf(TEXT)}, "text", "labels")
    arguments = {"text": "Hi", "labels": ["a"]}
    assert chat_messages(executor("{text} of {labels}", "/no_think"), call, arguments) == [
        {"role": "system", "content": "/no_think"},
        {"role": "user", "content": 'Hi of ["a"]'},
    ]


def test_an_empty_system_text_is_no_message() -> None:
    call = step({"x": TEXT}, prompt="{x}", system="{x}")
    assert chat_messages(executor(), call, {"x": ""}) == [{"role": "user", "content": ""}]


def test_without_any_prompt_the_task_and_the_executor_are_named() -> None:
    with pytest.raises(CallFailed, match=r"neither .* `label` nor .* `tiny-classify`") as found:
        chat_messages(executor(), step({"x": TEXT}), {"x": "a"})
    assert not found.value.retryable


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [("{text", "is not closed"), ("{txt}", "`{txt}` names nothing"), ("{text.a}", "names nothing")],
)
def test_a_wrong_prompt_of_a_library_is_told(prompt: str, reason: str) -> None:
    with pytest.raises(CallFailed, match=r"prompt of the library's executor `tiny-classify`") as e:
        chat_messages(executor(prompt), step({"x": TEXT}, "text"), {"text": "a"})
    assert reason in e.value.message and not e.value.retryable


# ---- text


@pytest.mark.parametrize(
    ("value", "inserted"),
    [
        ('a "b" {c}', 'a "b" {c}'),
        (None, ""),
        (3, "3"),
        (0.5, "0.5"),
        (True, "true"),
        ([], "[]"),
        (["é", None, 1], '["é",null,1]'),
        ({"b": {"c": []}, "a": "x"}, '{"b":{"c":[]},"a":"x"}'),
    ],
)
def test_values_without_media_make_a_plain_string(value: Any, inserted: str) -> None:
    assert asked("<{{{x}}}>", Base("Json"), value) == f"<{{{inserted}}}>"


def test_fields_are_reached_and_the_field_of_nothing_is_nothing() -> None:
    call = step({"x": Base("Json")}, prompt="{x.a.b}|{x.a}")
    messages = [
        chat_messages(executor(), call, {"x": x})[0]["content"] for x in ({"a": {"b": 1}}, None)
    ]
    assert messages == ['1|{"b":1}', "|"]


def test_an_embedding_is_numbers_in_whatever_form_it_came() -> None:
    import numpy as np

    assert asked("{x}", Base("Embedding"), np.array([0.5, 1.0])) == "[0.5,1.0]"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"x": "\ud800"}, r"`x`: the text holds `\\ud800`"),
        ([object()], "`x`: a Python `list` cannot be written"),
        (float("inf"), "`x`: a Python `float` cannot be written"),
    ],
)
def test_what_no_request_can_hold_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(CallFailed, match=reason):
        asked("{x}", Base("Json"), value)


# ---- media


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "webp"),
        (b"GIF89a", "gif"),
    ],
)
def test_an_image_is_what_its_first_bytes_say(tmp_path: Path, first: bytes, kind: str) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(first + b"rest")
    photo = Media("image", path=str(path))
    assert asked("{x}", Base("Image"), photo) == [image(photo, kind)]


@pytest.mark.parametrize(
    ("first", "form"),
    [
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "wav"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90", "mp3"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
    ],
)
def test_a_sound_is_sent_with_its_format(first: bytes, form: str) -> None:
    data = base64.b64encode(first).decode()
    assert asked("{x} what?", Base("Audio"), Media("audio", data=first)) == [
        {"type": "input_audio", "input_audio": {"data": data, "format": form}},
        text(" what?"),
    ]


def test_a_video_is_a_data_url() -> None:
    (part,) = asked("{x}", Base("Video"), STATION)
    assert part["type"] == "video_url"
    head, _, data = part["video_url"]["url"].partition(",")
    assert head == "data:video/mp4;base64"
    assert base64.b64decode(data) == STATION.read()


def test_a_list_of_images_stands_in_place_with_its_neighbours_merged() -> None:
    call = step({"x": ListOf(Base("Image")), "n": Base("Int")}, prompt="See {n}:\n{x}\n{n} done")
    (message,) = chat_messages(executor(), call, {"x": [JPEG, None, PNG], "n": 2})
    assert message["content"] == [
        text("See 2:\n"),
        image(JPEG, "jpeg"),
        image(PNG, "png"),
        text("\n2 done"),
    ]


def test_records_with_media_are_json_around_them() -> None:
    notes = [
        {"frames": [PNG, JPEG], "speech": None, "objects": ["a"]},
        {"frames": [], "speech": 'so "it" is', "objects": None},
    ]
    content = asked("Notes: {x}.", ListOf(Base("Json")), notes)
    assert content == [
        text('Notes: [{"frames":['),
        image(PNG, "png"),
        text(","),
        image(JPEG, "jpeg"),
        text(
            '],"speech":null,"objects":["a"]},'
            '{"frames":[],"speech":"so \\"it\\" is","objects":null}].'
        ),
    ]


def test_white_space_alone_between_images_is_left_out() -> None:
    call = step({"a": Base("Image"), "b": Base("Image")}, prompt="{a}\n{b}\n")
    (message,) = chat_messages(executor(), call, {"a": JPEG, "b": PNG})
    assert message["content"] == [image(JPEG, "jpeg"), image(PNG, "png")]


@pytest.mark.parametrize(
    ("medium", "reason"),
    [
        (Media("image", data=b"<svg/>"), "`image of 6 bytes` is not an image of a known format"),
        (Media("audio", data=b""), "`audio of 0 bytes` is empty"),
        (Media("image", path="/nowhere/a.png"), "`/nowhere/a.png` cannot be read: No such file"),
        (Media("file", data=b"PK"), "`file of 2 bytes` is a file"),
    ],
)
def test_a_medium_that_cannot_be_sent_is_named_with_its_parameter(
    medium: Media, reason: str
) -> None:
    with pytest.raises(CallFailed) as found:
        asked("{x.a}", Record((("a", Base("Image")),)), {"a": medium})
    assert found.value.message.startswith(f"`x.a`: {reason}")
    assert not found.value.retryable


# ---- scenes


def scene(start: float, end: float, video: Media = STATION) -> dict[str, Any]:
    return {"video": video, "start": start, "end": end}


def decoded(part: Any) -> tuple[list[float], Any]:
    """Return the times of a video part's frames, and the first as an array of grey values."""
    import av

    content = base64.b64decode(part["video_url"]["url"].partition(",")[2])
    with av.open(io.BytesIO(content), mode="r") as container:
        frames = list(container.decode(video=0))
    return [float(frame.time or 0) for frame in frames], frames[0].to_ndarray(format="gray8")


def test_a_scene_is_its_stretch_of_the_video_beside_its_times() -> None:
    before, video, after = asked("{x}", Base("Json"), scene(12.3, 14.3))
    assert before == text('{"video":') and after == text(',"start":12.3,"end":14.3}')
    times, _ = decoded(video)
    gap = times[1] - times[0]
    assert times[0] == 0
    assert len(times) * gap == pytest.approx(2, abs=gap)
    assert times[-1] == pytest.approx(2 - gap, abs=gap)


def test_a_scene_begins_with_the_picture_at_its_start() -> None:
    import av
    import numpy as np

    _, video, _ = asked("{x}", Base("Json"), scene(17.0, 18.0))
    with STATION.file() as path, av.open(path, mode="r") as container:
        true = next(f for f in container.decode(video=0) if (f.time or 0) >= 17.0)
    original = true.to_ndarray(format="gray8").astype(int)
    assert np.abs(decoded(video)[1].astype(int) - original).mean() < 3  # of 255


def test_a_scene_that_is_the_whole_video_is_sent_as_it_is() -> None:
    _, video, _ = asked("{x}", Base("Json"), scene(0.0, 1e6))
    assert base64.b64decode(video["video_url"]["url"].partition(",")[2]) == STATION.read()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (scene(3.0, 3.0), "`x`: the scene .3 s, 3 s. of .* is empty"),
        (scene(5000.0, 5001.0), "no frame between 5000 s and 5001 s"),
        (scene(0.0, 1.0, Media("video", data=b"nothing")), "cannot be read as video"),
    ],
)
def test_a_scene_without_pictures_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(CallFailed, match=reason):
        asked("{x}", Base("Json"), value)


def test_without_pyav_a_scene_is_the_whole_video_with_its_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    _, video, after = asked("{x}", Base("Json"), scene(12.5, 14.0))
    assert base64.b64decode(video["video_url"]["url"].partition(",")[2]) == STATION.read()
    assert after == text(',"start":12.5,"end":14.0}')


# ---- embeddings and transcriptions


def test_without_pyav_no_sound_can_be_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(CallFailed, match="the module `av`, which is missing") as found:
        audio_file(step({"s": TEXT}), {"s": scene(0.0, 1.0)})
    assert found.value.help == "install it with `pip install 'murakkab[local]'`"


def test_what_is_embedded_is_the_one_text() -> None:
    assert input_text(step({"t": TEXT}, "text"), {"text": "hello"}) == "hello"


@pytest.mark.parametrize("arguments", [{"a": 1}, {"a": None}, {"a": "x", "b": "y"}])
def test_nothing_else_can_be_embedded(arguments: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match="`label` cannot be embedded"):
        input_text(step({"a": TEXT}), arguments)


def test_a_recording_is_sent_as_it_is() -> None:
    assert audio_file(step({"a": Base("Audio")}, "audio"), {"audio": WAV}) == (
        "audio.wav",
        WAV.data,
    )


def test_the_sound_of_a_scene_is_cut_out_as_16_khz_mono() -> None:
    found = audio_file(step({"s": Base("Json")}, "scene"), {"scene": scene(12.0, 14.5)})
    assert found is not None and found[0] == "scene.wav"
    with wave.open(io.BytesIO(found[1])) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert file.getnframes() == 2.5 * 16_000
        assert any(file.readframes(40_000))


def test_a_scene_behind_the_end_of_the_sound_has_nothing_to_hear() -> None:
    assert audio_file(step({"s": TEXT}), {"s": scene(5000.0, 5001.0)}) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("words", "`label` cannot be transcribed"),
        (STATION, "`label` cannot be transcribed"),
        (Media("audio", data=b"????"), "is not a sound of a known format"),
        (scene(0.0, 1.0, Media("video", data=b"?")), "cannot be read as video"),
    ],
)
def test_what_holds_no_sound_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(CallFailed, match=reason):
        audio_file(step({"s": TEXT}), {"s": value})


def test_messages_are_json() -> None:
    content = asked("{x}", ListOf(Base("Json")), [{"a": PNG, "scene": scene(1.0, 1.5)}])
    assert json.loads(json.dumps(content, allow_nan=False)) == content
