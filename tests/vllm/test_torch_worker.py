"""The torch worker with real torch and `transformers`: tiny models, real images and recordings."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from murakkab.ir.diagnostics import Span
from murakkab.ir.reader import read_module
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.torch_models import Weights, load_model
from murakkab.runtime.torch_worker import torch_worker
from murakkab.targets.library import Executor, Quality
from murakkab.targets.plan import EnginePlan, Place

from .torch_models import (
    WINDOW_S,
    write_captioner,
    write_detector,
    write_encoder,
    write_speech,
)

RATE_HZ = 16_000
TASKS = {
    "caption": "%image: Image) -> Text",
    "detect_objects": "%frames: [Image]) -> [Text]",
    "embed": "%text: Text) -> Embedding",
    "transcribe": "%scene: {video: Video, start: Float, end: Float}) -> Text",
    "transcribe_audio": "%audio: Audio) -> Text",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one model for each interface."""
    folder = tmp_path_factory.mktemp("models")
    write_captioner(folder / "captioner")
    write_detector(folder / "detector")
    write_encoder(folder / "encoder")
    write_speech(folder / "speech")
    return folder


def picture(folder: Path, seed: int, size: tuple[int, int] = (90, 60)) -> Media:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path = folder / f"picture{seed}.png"
    Image.fromarray(pixels).save(path)
    return Media("image", path=str(path))


def recording(folder: Path, seed: int, seconds: float, rate_hz: int = RATE_HZ) -> Media:
    noise = np.random.default_rng(seed).normal(0, 3000, int(seconds * rate_hz))
    path = folder / f"sound{seed}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(noise.astype("<i2").tobytes())
    return Media("audio", path=str(path))


def run(models: Path, name: str, calls: list[tuple[str, Any, dict[str, Any]]]) -> list[Any]:
    """Do calls (interface, argument, knobs) at once; return values and `CallFailed`s."""
    worker = torch_worker(*engine_of(models, name, calls[0][0]))

    async def whole() -> list[Any]:
        try:
            await worker.start()
            futures = [worker.submit(submit(*call)) for call in calls]
            return await asyncio.gather(*futures, return_exceptions=True)
        finally:
            await worker.stop()

    return asyncio.run(whole())


def engine_of(models: Path, name: str, interface: str) -> tuple[EnginePlan, Executor]:
    executor = Executor(
        name=name,
        interface=interface,
        description="",
        runner="torch",
        devices=("cpu",),
        quality=Quality(1.0, "relative", "test"),
        model=f"./{name}",
        loc=Span(str(models / "library.toml"), 1, 1, 1, 1),
        settings=(("threshold", 0.0),),
    )
    engine = EnginePlan(
        name="e",
        executor=name,
        executor_digest="",
        runner="torch",
        model=executor.model,
        slot="here/cpu",
        device="cpu",
        tp=0,
        replicas=1,
        concurrency=8,
        places=(Place("here", 0, ()),),
        start_s=0.0,
        end_s=1.0,
        startup_s=0.0,
    )
    return engine, executor


def submit(interface: str, argument: Any, knobs: dict[str, Any]) -> Submit:
    signature = TASKS[interface]
    param, result = signature.split(":")[0], signature.rsplit("-> ")[1]
    text = f"""module placed
task @{interface}({signature} {{interface = "{interface}"}}
engine @e
workflow @w({signature}
{{
  %y = invoke @{interface}({param}) {{engine = @e, executor = @m}} : {result}
  return(%y)
}}
"""
    step = compile_program(read_module(text, "test.mkir")).steps[0]
    return Submit(0, "y", replace(step, knobs=knobs), (argument,), 1)


@contextmanager
def passes(model: Any) -> Iterator[list[int]]:
    """Collect how many inputs each forward pass of a model has."""
    sizes: list[int] = []

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(len(next(iter(kwargs.values()))))

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield sizes
    finally:
        hook.remove()


def test_objects_are_named_once_per_call_and_bad_frames_fail_alone(
    models: Path, tmp_path: Path
) -> None:
    frames = [picture(tmp_path, seed) for seed in range(4)]
    wide = picture(tmp_path, 9, (200, 60))
    bad = Media("image", data=b"\x89PNG\r\n\x1a\n and then nothing")
    ask = "detect_objects"
    first, none, broken, mixed, strict = run(
        models,
        "detector",
        [
            (ask, frames[:3], {}),
            (ask, [], {}),
            (ask, [frames[3], bad], {}),
            (ask, [frames[0], wide], {}),
            (ask, frames, {"threshold": 0.99}),
        ],
    )
    assert set(first) <= {"cat", "dog"}
    assert len(first) == len(set(first)) > 0
    assert none == [] == strict
    assert isinstance(broken, CallFailed)
    assert "cannot be read as image" in broken.message
    assert mixed


def test_all_frames_of_all_calls_are_one_pass(models: Path, tmp_path: Path) -> None:
    import torch

    frames = [picture(tmp_path, seed) for seed in range(5)]
    detector: Any = load_model("detect_objects", Weights(str(models / "detector"), None, "cpu"))
    calls = [detector.read({"frames": some}) for some in (frames[:3], [], frames[3:])]
    other_size = detector.read({"frames": [picture(tmp_path, 7, (60, 90))]})
    with torch.inference_mode(), passes(detector._model) as sizes:
        together = detector.run([*calls, other_size], {"threshold": 0.0})
        assert sizes == [5, 1]
        alone = [detector.run([call], {"threshold": 0.0})[0] for call in [*calls, other_size]]
    assert together == alone


def test_recordings_short_and_long_are_transcribed_as_if_alone(
    models: Path, tmp_path: Path
) -> None:
    import torch

    lengths_s = (1.0, 1.5, 2 * WINDOW_S + 1.0, 0.0, 3 * WINDOW_S + 0.5)
    sounds = [recording(tmp_path, i, seconds) for i, seconds in enumerate(lengths_s)]
    speech: Any = load_model("transcribe", Weights(str(models / "speech"), None, "cpu"))
    heard = [speech.read({"audio": sound}) for sound in sounds if sound is not sounds[3]]
    heard.insert(3, np.zeros(0, np.float32))
    assert [len(samples) for samples in heard] == [int(RATE_HZ * s) for s in lengths_s]
    with torch.inference_mode(), passes(speech._model.model.encoder) as sizes:
        together = speech.run(heard, {"language": "en"})
        assert sizes[0] == 2
        alone = [speech.run([one], {"language": "en"})[0] for one in heard]
    assert together == alone
    assert together[3] == ""
    assert all(text.isascii() and text for i, text in enumerate(together) if i != 3)


def test_scenes_and_recordings_can_share_an_engine(models: Path, tmp_path: Path) -> None:
    sound = recording(tmp_path, 1, 1.5)
    at_44_khz = recording(tmp_path, 2, 1.0, rate_hz=44_100)
    scene = {"video": replace(sound, kind="video"), "start": 0.5, "end": 1.0}
    silent = {"video": silent_video(tmp_path), "start": 0.0, "end": 0.2}
    no_sound = Media("audio", data=b"RIFF")
    whole, resampled, part, nothing, bad = run(
        models,
        "speech",
        [
            ("transcribe_audio", sound, {}),
            ("transcribe_audio", at_44_khz, {}),
            ("transcribe", scene, {}),
            ("transcribe", silent, {}),
            ("transcribe_audio", no_sound, {}),
        ],
    )
    assert all(isinstance(text, str) and text for text in (whole, resampled, part))
    assert nothing == ""
    assert isinstance(bad, CallFailed)
    assert "cannot be read as audio" in bad.message


def silent_video(folder: Path) -> Media:
    import av

    path = folder / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 32, 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Media("video", path=str(path))


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_embeddings_are_unit_vectors_that_do_not_depend_on_the_batch(
    models: Path, pooling: str
) -> None:
    import torch

    encoder: Any = load_model("embed", Weights(str(models / "encoder"), None, "cpu"))
    texts = ["short", "a text that is somewhat longer", "far too long " * 50]
    with torch.inference_mode():
        together = encoder.run(texts, {"pooling": pooling})
        (alone,) = encoder.run(texts[:1], {"pooling": pooling})
    assert [len(vector) for vector in together] == [16, 16, 16]
    assert np.linalg.norm(together, axis=1) == pytest.approx([1.0] * 3)
    assert together[0] == pytest.approx(alone, abs=1e-5)
    assert together[0] != pytest.approx(together[1], abs=1e-3)


def test_captions_obey_the_limit(models: Path, tmp_path: Path) -> None:
    import torch

    captioner: Any = load_model("caption", Weights(str(models / "captioner"), None, "cpu"))
    images = [captioner.read({"image": picture(tmp_path, 1, (40 + i, 50))}) for i in range(3)]
    with torch.inference_mode():
        texts = captioner.run(images, {"max_tokens": 4})
    assert all(isinstance(text, str) and len(text) <= 4 for text in texts)


def test_a_killed_process_fails_its_calls_as_retryable_and_the_next_call_works(
    models: Path, tmp_path: Path
) -> None:
    worker = torch_worker(*engine_of(models, "detector", "detect_objects"))
    frames = [picture(tmp_path, seed) for seed in range(16)]

    async def whole() -> None:
        try:
            await worker.start()
            before = children()
            future = worker.submit(submit("detect_objects", frames, {}))
            await asyncio.sleep(0)
            os.kill(before[0], signal.SIGKILL)
            with pytest.raises(CallFailed, match="was killed") as caught:
                await future
            assert caught.value.retryable
            repeated = submit("detect_objects", frames, {})._replace(attempt=2)
            assert await worker.submit(repeated)
            assert len(children()) == 1
            assert children() != before
        finally:
            await worker.stop()
        assert children() == []

    asyncio.run(whole())


def children() -> list[int]:
    """Return the processes that run torch for this one."""
    tasks = Path("/proc/self/task").glob("*/children")
    found = [int(pid) for task in tasks for pid in task.read_text().split()]
    return [pid for pid in found if b"torch_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("name", "interface", "told"),
    [
        ("speech", "detect_objects", "is not a model for `detect_objects`"),
        ("detector", "caption", "is not a model for `caption`"),
        ("empty", "embed", "holds no model that can be loaded"),
        ("broken", "embed", "broken` holds no model that can be loaded"),
    ],
)
def test_a_folder_without_the_right_model_is_told_in_one_line(
    models: Path, name: str, interface: str, told: str
) -> None:
    for wrong in ("empty", "broken"):
        (models / wrong).mkdir(exist_ok=True)
    shutil.copy(models / "encoder/config.json", models / "broken")
    (models / "broken/model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(CallFailed) as caught:
        load_model(interface, Weights(str(models / name), None, "cpu"))
    assert told in caught.value.message
    assert "\n" not in caught.value.message


def test_a_model_that_was_not_fetched_is_told_with_the_command_that_does(models: Path) -> None:
    engine, executor = engine_of(models, "detector", "detect_objects")
    worker = torch_worker(engine, replace(executor, model="nobody/has-this-one"))

    async def whole() -> None:
        try:
            await worker.start()
        finally:
            await worker.stop()

    with pytest.raises(CallFailed, match="model `nobody/has-this-one` is not on this") as caught:
        asyncio.run(whole())
    assert caught.value.help == "fetch it with `mkb pull PLAN`"


LIBRARY = """
[[executor]]
name = "detector"
implements = "detect_objects"
description = "a tiny detector"
runner = "torch"
model = "./detector"
devices = ["cpu"]
cores = 1
quality = { value = 0.9, metric = "none", source = "made up" }
settings = { threshold = 0, batch = 2 }
work = { prompt_tokens = "24 * images(frames)", output_tokens = 1 }
result = { len = 2, "item.tokens" = 1 }
"""
WORKFLOW = """import "std/media"

workflow look(sets: [[Image]]) -> [[Text]] "Name what is in each set of images."
    expect len(sets) = 3
{
    seen = for frames in sets {
        yield detect_objects(frames) with { executor: "detector" }
    }
    return seen
}
"""


def test_a_workflow_runs_on_a_model_that_a_library_names(models: Path, tmp_path: Path) -> None:
    (models / "library.toml").write_text(LIBRARY)
    (tmp_path / "look.mkb").write_text(WORKFLOW)
    sets = [[str(picture(tmp_path, seed).path)] for seed in range(2)]
    (tmp_path / "inputs.json").write_text(json.dumps({"sets": [*sets, []]}))
    command = [sys.executable, "-m", "murakkab", "run", "look.mkb", "--target", "vllm"]
    command += ["--library", str(models / "library.toml"), "--inputs", "inputs.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, nothing = json.loads(done.stdout)
    assert first and {*first, *second} <= {"cat", "dog"}
    assert nothing == []
