"""What results are kept under: all that decides them changes the key, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.types import Base, ListOf, Type
from murakkab.ir.workflow import Task, Value
from murakkab.runtime.cache.key import Keys, Surroundings, is_sampled
from murakkab.runtime.media import Media
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import Step
from murakkab.targets.library import Executor, Quality

TEXT = Base("Text")
EXECUTOR = Executor(
    name="e",
    interface="work",
    description="",
    runner="python",
    devices=("cpu",),
    quality=Quality(1.0, "m", "s"),
    file="code.py",
    digest="d",
)
TASK = Task("work", (Value("x", TEXT),), TEXT, prompt="Do {x}.", system="Be brief.")


def call(arg: Any = "a", task: Task = TASK, instance: str = "y", **knobs: Any) -> Submit:
    params = tuple(param.name for param in task.params)
    step = Step("y", task, "cpu_0", "e", params, knobs, True, lambda value: None)
    return Submit(1, instance, step, (arg,), 1)


def keys(executor: Executor = EXECUTOR, *, sampled: bool = False) -> Keys:
    return Keys(Surroundings({}, {"e": executor}, {}, {}), sampled=sampled)


def of_type(kind: Type) -> Task:
    return replace(TASK, params=(Value("x", kind),))


def test_the_same_call_has_the_same_key_wherever_it_is_made() -> None:
    assert keys().of(call()) == keys().of(call(instance="other[3]"))
    assert keys().of(call(a=1, b=2)) == keys().of(call(b=2, a=1))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Do it: {x}."},
        {"system": None},
        {"description": "Works."},
        {"result": ListOf(TEXT)},
        {"binding": ("y",)},
        {"scored": True},
        {"answers": ("a", "b")},
        {"interface": "answer"},
    ],
)
def test_each_part_of_a_task_counts(change: dict[str, Any]) -> None:
    assert keys().of(call()) != keys().of(call(task=replace(TASK, **change)))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "f"},
        {"digest": "other"},
        {"runner": "torch"},
        {"model": "m"},
        {"revision": "r"},
        {"settings": (("threshold", 0.5),)},
        {"requires": ("numpy",)},
    ],
)
def test_each_part_of_an_executor_counts(change: dict[str, Any]) -> None:
    assert keys().of(call()) != keys(replace(EXECUTOR, **change)).of(call())


SCALARS = st.one_of(st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, 1.0, "1", "a"]))
KNOBS = st.dictionaries(st.sampled_from(["k", "n", "side"]), SCALARS, max_size=3)


def typed(value: Any) -> Any:
    """Return a value so that 1, 1.0 and true differ."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, value


@settings(deadline=None)
@given(KNOBS, KNOBS)
def test_keys_differ_as_knobs_do(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = keys().of(call(**one)) == keys().of(call(**other))
    assert same == (typed(one) == typed(other))


JSON = st.recursive(
    st.one_of(st.none(), SCALARS, st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["media", "sha256", "path", "bytes"]), inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(JSON, JSON)
def test_keys_differ_as_arguments_do(one: Any, other: Any) -> None:
    task = of_type(Base("Json"))
    same = keys().of(call(one, task)) == keys().of(call(other, task))
    assert same == (typed(one) == typed(other))


def test_json_that_looks_like_a_medium_counts_whole() -> None:
    task = of_type(Base("Json"))
    looks = [{"media": "image", "sha256": "0", "path": path} for path in ("a", "b")]
    assert keys().of(call(looks[0], task)) != keys().of(call(looks[1], task))


def test_media_count_by_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    task = of_type(Base("Image"))
    in_file, in_memory, other = (
        Media("image", path=str(tmp_path / "a")),
        Media("image", data=b"one"),
        Media("image", data=b"two"),
    )
    assert keys().of(call(in_file, task)) == keys().of(call(in_memory, task))
    assert keys().of(call(in_file, task)) != keys().of(call(other, task))


@pytest.mark.parametrize(
    ("runner", "interface", "prompt", "stated", "sampled"),
    [
        ("python", "work", None, {}, False),
        ("python", "work", None, {"temperature": 0.5}, True),
        ("openai", "answer", "Do.", {}, True),
        ("openai", "answer", "Do.", {"temperature": 0}, False),
        ("vllm", "answer", "Do.", {"temperature": 0.0}, False),
        ("vllm", "embed", None, {}, False),
        ("openai", "transcribe", None, {}, True),
    ],
)
def test_draws_are_known(
    runner: Any, interface: str, prompt: str | None, stated: dict[str, Any], sampled: bool
) -> None:
    executor = replace(EXECUTOR, runner=runner, interface=interface, settings=tuple(stated.items()))
    asked = call(task=replace(TASK, prompt=prompt))
    assert is_sampled(asked.step, executor) == sampled
    assert keys(executor).wanted(asked) == (not sampled)
    assert keys(executor, sampled=True).wanted(asked)


def test_the_temperature_of_a_step_is_above_that_of_its_executor() -> None:
    cold = replace(EXECUTOR, settings=(("temperature", 0.0),))
    assert is_sampled(call(temperature=0.7).step, cold)
    warm = replace(EXECUTOR, settings=(("temperature", 0.7),))
    assert not is_sampled(call(temperature=0).step, warm)


def test_what_is_not_kept() -> None:
    assert not keys(sampled=True).wanted(call(task=replace(TASK, effect=True)))
    assert not keys().wanted(call(task=of_type(Base("Index"))))
    assert not keys().wanted(call(task=replace(TASK, result=Base("Index"))))
    assert not keys().wanted(call()._replace(given=("an item",)))
