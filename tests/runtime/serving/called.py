"""A worker with one server of the test's own, and calls for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from murakkab.ir.ops import Attr, Value
from murakkab.ir.types import TEXT, Type
from murakkab.ir.workflow import Task
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import Step
from murakkab.runtime.repeats import Repeats
from murakkab.runtime.serving.asking import Asker
from murakkab.runtime.serving.client import HttpClient
from murakkab.runtime.serving.endpoint import Allowance, Endpoint
from murakkab.runtime.serving.replica import Origin, Replica
from murakkab.runtime.serving.replicas import Replicas
from murakkab.runtime.serving.turns import Turns
from murakkab.runtime.serving.worker import ServedWorker
from murakkab.runtime.values import checker
from murakkab.targets.endpoint import EndpointPlan
from murakkab.targets.failure_policy import USUAL
from murakkab.targets.library import Executor, Quality
from murakkab.targets.plan import EnginePlan


def executor(interface: str = "generate", **fields: Any) -> Executor:
    quality = Quality(1.0, "relative", "test")
    given = {"model": "org/tiny", **fields}
    return Executor("tiny", interface, "", "vllm", ("gpu",), quality, **given)


def engine(**fields: Any) -> EnginePlan:
    given: dict[str, Any] = {
        "name": "e",
        "executor": "tiny",
        "executor_digest": "",
        "runner": "vllm",
        "model": "org/tiny",
        "slot": "p/gpu",
        "device": "gpu",
        "tp": 1,
        "replicas": 1,
        "concurrency": 8,
        "places": (),
        "start_s": 0.0,
        "end_s": 1.0,
        "startup_s": 0.0,
    }
    return EnginePlan(**{**given, **fields})


def call(
    params: Mapping[str, tuple[Type, Any]],
    *,
    result: Type = TEXT,
    prompt: str | None = "{x}",
    knobs: Mapping[str, Attr] | None = None,
    name: str = "label",
) -> Submit:
    """Return a call of a task with parameters of these types and values."""
    values = tuple(Value(param, kind) for param, (kind, _) in params.items())
    step = Step(
        name=name,
        task=Task("label", values, result, prompt=prompt),
        engine="e",
        executor="tiny",
        params=tuple(params),
        knobs=knobs or {},
        repeatable=True,
        check=checker(result),
    )
    return Submit(1, name, step, tuple(value for _, value in params.values()), 1)


def asking(text: str, **more: Any) -> Submit:
    """Return a call whose prompt is this text."""
    return call({"x": (TEXT, text)}, **more)


@asynccontextmanager
async def worker_at(
    url: str,
    *,
    key: str | None = None,
    key_env: str | None = None,
    origin: Origin = "attached",
    plan: EndpointPlan | None = None,
    urgency: Mapping[str, float] | None = None,
    limit_s: float = 30.0,
    with_executor: Executor | None = None,
    repeats: Repeats | None = None,
) -> AsyncIterator[ServedWorker]:
    """Give a worker of one server that is up, without asking it anything first."""
    client = HttpClient()
    replica = Replica(origin, Endpoint(f"{url}/v1", "served", key, key_env), client, base=url)
    replica.up = True
    replicas = Replicas([replica], lambda state: None)
    replicas.risen = True
    executors = {"tiny": with_executor or executor()}
    allowance = Allowance(plan)
    repeats = repeats or Repeats(USUAL)
    asker = Asker(executors, client, allowance, urgency or {}, limit_s, repeats)
    worker = ServedWorker(engine(), asker, replicas, Turns({}), repeats, None)
    try:
        yield worker
    finally:
        await worker.stop()
        await client.close()
