"""The torch worker's processes, batches and failures, with a stand-in for `transformers`.

The stand-in's model is real enough to be asked in passes and to crash; what it does with an image
is decided by the image's width. Real models are in tests/vllm.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from murakkab.ir.diagnostics import Span
from murakkab.ir.reader import read_module
from murakkab.runtime.errors import CallFailed
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.torch_worker import TorchWorker, torch_worker
from murakkab.targets.library import Executor, Quality
from murakkab.targets.plan import EnginePlan, Place

CAPTION = """module placed
task @caption(%image: Image) -> Text {interface = "caption"}
engine @e
workflow @w(%image: Image) -> Text
{
  %text = invoke @caption(%image) {engine = @e, executor = @model} : Text
  return(%text)
}
"""
TORCH = """
import contextlib, os
class cuda:
    is_available = staticmethod(lambda: bool(os.environ["CUDA_VISIBLE_DEVICES"]))
inference_mode = contextlib.nullcontext
set_num_threads = lambda cores: None
"""
TRANSFORMERS = """
import os, pathlib, signal, time
class logging:
    disable_progress_bar = staticmethod(lambda: None)
class Fed(dict):
    to = lambda self, *where: self
class AutoProcessor:
    from_pretrained = classmethod(lambda cls, folder, local_files_only: cls())
    def __call__(self, images, return_tensors):
        return Fed(pixel_values=[image.size[0] for image in images])
    def batch_decode(self, said, skip_special_tokens):
        return said
class AutoModelForImageTextToText:
    device = dtype = None
    @classmethod
    def from_pretrained(cls, folder, local_files_only):
        if not pathlib.Path(folder, "config.json").exists():
            raise OSError("there is no config.json\\nin here")
        return cls()
    to = eval = float = lambda self, *where: self
    def generate(self, pixel_values, max_new_tokens=0):
        if 13 in pixel_values:
            raise ValueError("unlucky\\nand so on")
        if 14 in pixel_values:
            os.kill(os.getpid(), signal.SIGSEGV)
        if 15 in pixel_values:
            time.sleep(60)
        if 16 in pixel_values:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        gpus = os.environ["CUDA_VISIBLE_DEVICES"] or "none"
        said = f"{len(pixel_values)} {os.getpid()} {max_new_tokens} {gpus}"
        return [f"{width} {said}" for width in pixel_values]
"""
RAISES, CRASHES, HANGS, BREAKS_THE_GPU = 13, 14, 15, 16
STEP = compile_program(read_module(CAPTION, "test.mkir")).steps[0]

Use = Callable[[TorchWorker], Awaitable[None]]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a library file beside which there is a model; the children find the stand-ins."""
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "transformers.py").write_text(TRANSFORMERS)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "library.toml"


def run(library: Path, use: Use, *, concurrency: int = 8, **changes: Any) -> None:
    """Start a worker, use it, and stop it."""
    fields: dict[str, Any] = {"settings": (), "interface": "caption", "model": "./model", **changes}
    places = fields.pop("places", ((),))
    executor = Executor(
        name="model",
        description="",
        runner="torch",
        devices=("cpu", "gpu"),
        quality=Quality(1.0, "relative", "test"),
        loc=Span(str(library), 1, 1, 1, 1),
        **fields,
    )
    engine = EnginePlan(
        name="e",
        executor="model",
        executor_digest="",
        runner="torch",
        model=executor.model,
        slot="here",
        device="gpu" if places[0] else "cpu",
        tp=1,
        replicas=len(places),
        concurrency=concurrency,
        places=tuple(Place("here", 0, gpus) for gpus in places),
        start_s=0.0,
        end_s=1.0,
        startup_s=0.0,
    )

    async def whole() -> None:
        worker = torch_worker(engine, executor)
        try:
            await worker.start()
            await use(worker)
            await worker.drain()
        finally:
            await worker.stop()

    asyncio.run(whole())


def submit(
    worker: TorchWorker, image: int | Media, attempt: int = 1, **knobs: Any
) -> asyncio.Future[Any]:
    """Have an image of a width described, or the image given."""
    if not isinstance(image, Media):
        content = io.BytesIO()
        Image.new("RGB", (image, 1)).save(content, "PNG")
        image = Media("image", data=content.getvalue())
    return worker.submit(Submit(0, "text", replace(STEP, knobs=knobs), (image,), attempt))


async def said(*futures: asyncio.Future[Any]) -> list[list[str]]:
    """Return the words of answers: width, calls in the pass, process, max_tokens, GPUs."""
    return [str(text).split(" ") for text in await asyncio.gather(*futures)]


async def failure(future: asyncio.Future[Any]) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await future
    return caught.value


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_calls_that_wait_together_are_one_pass_and_keep_their_answers(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        answers = await said(*(submit(worker, width) for width in (5, 6, 7, 8)))
        assert [(width, calls) for width, calls, *_ in answers] == [
            ("5", "4"),
            ("6", "4"),
            ("7", "4"),
            ("8", "4"),
        ]
        one, *others = (submit(worker, width) for width in (1, 2, 3, 4))
        assert [calls for _, calls, *_ in await said(one, *others)] == ["4"] * 4

    run(library, use)


def test_what_comes_while_a_pass_is_at_work_makes_the_next(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        first = submit(worker, 1)
        await asyncio.sleep(0)  # its pass begins
        later = [submit(worker, 2), submit(worker, 3)]
        assert [calls for _, calls, *_ in await said(first, *later)] == ["1", "2", "2"]

    run(library, use)


@pytest.mark.parametrize(
    ("settings", "concurrency", "passes"),
    [((("batch", 3),), 8, ["3", "3", "3", "1"]), ((), 2, ["2", "2", "2", "2"])],
)
def test_a_pass_holds_at_most_the_batch_and_the_engines_concurrency(
    library: Path, settings: Any, concurrency: int, passes: list[str]
) -> None:
    async def use(worker: TorchWorker) -> None:
        answers = await said(*(submit(worker, width) for width in range(1, 5)))
        assert [calls for _, calls, *_ in answers] == passes

    run(library, use, settings=settings, concurrency=concurrency)


def test_calls_with_other_knobs_make_their_own_pass(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        limits = (5, 6, 5, 6, 6)
        answers = await said(*(submit(worker, 1, max_tokens=limit) for limit in limits))
        assert [(calls, limit) for _, calls, _, limit, _ in answers] == [
            ("2", "5"),
            ("3", "6"),
            ("2", "5"),
            ("3", "6"),
            ("3", "6"),
        ]

    run(library, use, settings=(("timeout_s", 9),))


def test_what_cannot_be_read_fails_its_own_call_only(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        good = submit(worker, 5)
        noise = submit(worker, Media("image", data=b"GIF89a?"))
        text = submit(worker, Media("image", path=str(library.parent / "torch.py")))
        absent = submit(worker, Media("image", path="/no/such.png"))
        assert [calls for _, calls, *_ in await said(good)] == ["1"]
        reasons = [(await failure(future)).message for future in (noise, text, absent)]
        assert reasons[0].startswith("`image of 7 bytes` cannot be read as image: ")
        assert "torch.py` cannot be read as image: it is not an image that can" in reasons[1]
        assert reasons[2].startswith("`/no/such.png` cannot be read as image: No such file")

    run(library, use)


def test_an_error_of_the_model_fails_the_call_that_causes_it(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        first, bad, last = (submit(worker, width) for width in (5, RAISES, 6))
        error = await failure(bad)
        assert (error.message, error.retryable) == ("raised ValueError: unlucky", False)
        assert [(width, calls) for width, calls, *_ in await said(first, last)] == [
            ("5", "1"),
            ("6", "1"),
        ]

    run(library, use)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (CRASHES, "its worker process crashed (SIGSEGV)"),
        (BREAKS_THE_GPU, "(exit code 1); its last output: RuntimeError: CUDA error: an illegal"),
    ],
)
def test_a_dead_process_is_replaced_and_its_calls_may_be_repeated_alone(
    library: Path, how: int, told: str
) -> None:
    async def use(worker: TorchWorker) -> None:
        ((_, _, before, *_),) = await said(submit(worker, 1))
        for error in [await failure(f) for f in [submit(worker, 5), submit(worker, how)]]:
            assert told in error.message
            assert error.retryable
        again, poison = submit(worker, 5, attempt=2), submit(worker, how, attempt=2)
        other = submit(worker, 6)
        ((_, calls, after, *_),) = await said(again)
        assert (calls, after == before) == ("1", False)
        assert told in (await failure(poison)).message
        assert [calls for _, calls, *_ in await said(other)] == ["1"]
        assert worker.health() is None
        assert not alive(int(before))

    run(library, use)


def test_replicas_share_what_waits_and_see_their_own_gpus(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")

    async def use(worker: TorchWorker) -> None:
        answers = await said(*(submit(worker, width) for width in (1, 2, 3, 4)))
        assert [calls for _, calls, *_ in answers] == ["2"] * 4
        assert len({pid for _, _, pid, *_ in answers}) == 2
        assert {gpus for *_, gpus in answers} == {"4,5", "6"}

    run(library, use, places=((0, 1), (2,)))


def test_on_a_cpu_no_gpu_is_seen(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    async def use(worker: TorchWorker) -> None:
        ((*_, gpus),) = await said(submit(worker, 1))
        assert gpus == "none"

    run(library, use)


def test_a_call_given_up_takes_its_process_along_unless_others_wait_for_it(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        ((_, _, before, *_),) = await said(submit(worker, 1))
        hanging, beside = submit(worker, HANGS), submit(worker, 2)
        await asyncio.sleep(0.05)
        hanging.cancel()
        await asyncio.sleep(0.05)
        assert alive(int(before))
        beside.cancel()
        ((width, _, after, *_),) = await said(submit(worker, 3))
        assert (width, after == before) == ("3", False)

    run(library, use)


def test_a_call_given_up_while_it_waits_is_never_begun(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        poison, good = submit(worker, CRASHES), submit(worker, 5)
        poison.cancel()
        assert [calls for _, calls, *_ in await said(good)] == ["1"]

    run(library, use)


def test_no_process_is_left_whether_idle_or_at_work(library: Path) -> None:
    pids: list[int] = []

    async def use(worker: TorchWorker) -> None:
        answers = await said(*(submit(worker, width) for width in (1, 2)))
        pids.extend(int(pid) for _, _, pid, *_ in answers)
        hanging = submit(worker, HANGS)
        await asyncio.sleep(0.05)
        await worker.stop()
        assert hanging.cancelled()
        assert [alive(pid) for pid in pids] == [False, False]

    run(library, use, places=((), ()))
    assert len(set(pids)) == 2


def test_a_retired_worker_finishes_its_calls_and_then_gives_its_processes_up(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        future = submit(worker, 1)
        worker.retire()
        ((_, _, pid, *_),) = await said(future)
        async with asyncio.timeout(30):
            while alive(int(pid)):
                await asyncio.sleep(0.01)

    run(library, use)


def test_a_model_that_is_gone_after_a_crash_fails_what_comes(library: Path) -> None:
    async def use(worker: TorchWorker) -> None:
        (library.parent / "model/config.json").unlink()
        crashed = submit(worker, CRASHES)
        assert (await failure(crashed)).retryable
        error = await failure(submit(worker, 1))
        assert not error.retryable
        assert error.message.endswith(
            "model` holds no model that can be loaded: OSError: there is no config.json"
        )
        assert worker.health() == "1 of 1 replicas could not be restarted"

    run(library, use)


@pytest.mark.parametrize(
    ("changes", "told", "help"),
    [
        ({"interface": "captoin"}, "runner `torch` has no models for `captoin`", "`caption`"),
        ({"settings": (("batch", 0),)}, "`settings.batch` is `0`", "from 1"),
        ({"model": "./other"}, "other` does not exist", "start at the library file"),
        ({"model": "some/model"}, "model `some/model` is not on this", "`mkb pull PLAN`"),
        ({"places": ((0,),), "gpus": ""}, "torch finds no GPU that it can use", "nvidia-smi"),
    ],
)
def test_what_keeps_a_worker_from_starting_is_told_with_what_to_do(
    library: Path, changes: dict[str, Any], told: str, help: str
) -> None:
    if changes.pop("gpus", None) is not None:
        (library.parent / "torch.py").write_text(TORCH.replace("bool(", "not bool("))

    async def use(worker: TorchWorker) -> None:
        raise AssertionError("it has started")

    with pytest.raises(CallFailed) as caught:
        run(library, use, **changes)
    assert told in caught.value.message
    assert help in (caught.value.help or "")


def test_a_missing_package_is_told_with_the_extra_that_brings_it(library: Path) -> None:
    absent = "raise ModuleNotFoundError('No module named torch', name='torch')\n"
    (library.parent / "torch.py").write_text(absent)

    async def use(worker: TorchWorker) -> None:
        raise AssertionError("it has started")

    with pytest.raises(CallFailed) as caught:
        run(library, use)
    assert caught.value.message == "the package `torch` is missing"
    assert caught.value.help == "install with `pip install 'murakkab[torch]'`"
