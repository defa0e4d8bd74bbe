"""What is profiled: a model server that runs already, or one started for the purpose."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...targets.catalog import Model
from ...targets.detect import detect_host
from ...targets.library import Executor
from ...targets.model_folder import model_location
from ...targets.plan import EnginePlan, Place
from ..errors import CallFailed
from ..serving.attach import check
from ..serving.client import HttpClient
from ..serving.command import WHOLE_GPU, server_command
from ..serving.endpoint import Endpoint
from ..serving.server import start_server

_KV_BYTES = 2.0**30  # of a server on a CPU, at least
_FREE_SHARE = 0.5  # of the memory beside the weights, at most


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as rows of a profile name it, and what serves it.

    `device` is a GPU type, `cpu`, or `remote` where nothing is known of it; `tp` is 0 but on GPUs.
    `context` are the tokens a request may have. `start_s` is how long the server took to start.
    """

    model: str
    device: str
    tp: int
    precision: str = ""
    engine: str = ""
    engine_version: str = ""
    context: int | None = None
    start_s: float | None = None


async def attached(
    client: HttpClient, endpoint: Endpoint, subject: Subject
) -> tuple[Endpoint, Subject]:
    """Return a running server with what it says of itself; raises `CallFailed`.

    An endpoint without a model's name is given that of the only model there, and so is a subject.
    """
    names = sorted(map(str, _listed(await client.text(f"{endpoint.url}/models"))))
    if names and (endpoint.model or len(names) > 1) and endpoint.model not in names:
        message = f"`{endpoint.url}` serves {', '.join(f'`{name}`' for name in names[:5])}"
        message += f", not `{endpoint.model}`" if endpoint.model else ""
        raise CallFailed(message, help="say which, as it is known there: `--model NAME`")
    found = await check(client, endpoint, any_model=not endpoint.model)
    if not found.model:
        message = f"`{endpoint.url}` does not say which models it serves"
        raise CallFailed(message, help="name the model: `--model NAME`")
    said = await _said(client, found)
    named = subject if subject.model else replace(subject, model=found.model)
    return found, replace(named, **said)


@asynccontextmanager
async def launched(
    client: HttpClient,
    executor: Executor,
    model: Model | None,
    subject: Subject,
    *,
    at_once: int,
    log: Path,
    environ: Mapping[str, str],
) -> AsyncIterator[tuple[Endpoint, Subject]]:
    """Start a server of an executor's model, as a run would, and end it; raises `CallFailed`.

    `model` are its figures, where they are known, for the memory that `at_once` requests need.
    """
    command = server_command(
        _engine(executor, model, subject, at_once),
        executor,
        model_location(executor),
        0,
        memory_share=WHOLE_GPU,
        sleeps=False,
        environ=environ,
    )
    server = await start_server(command, log, client.answers)
    try:
        endpoint = Endpoint(f"{server.url}/v1", command.served_model)
        said = await _said(client, endpoint)
        yield endpoint, replace(subject, start_s=server.started_s, **said)
    finally:
        await server.stop()


async def _said(client: HttpClient, endpoint: Endpoint) -> dict[str, Any]:
    """Return what a server tells of itself: vLLM its version and the context it has room for."""
    base = endpoint.url.removesuffix("/v1")
    version = _field(await client.text(f"{base}/version"), "version")
    entry = _listed(await client.text(f"{endpoint.url}/models")).get(endpoint.model, {})
    context = entry.get("max_model_len")
    said: dict[str, Any] = {"context": context if isinstance(context, int) else None}
    if isinstance(version, str):  # of the servers that are known, only vLLM's has this address
        said |= {"engine": "vllm", "engine_version": version}
    return said


def _listed(text: str | None) -> dict[object, Mapping[str, Any]]:
    """Return what a list of models says of each, by its name; nothing where it is none."""
    data = _field(text, "data")
    entries = data if isinstance(data, list) else []
    return {entry.get("id"): entry for entry in entries if isinstance(entry, dict)}


def _field(text: str | None, name: str) -> object:
    try:
        return json.loads(text or "")[name]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _engine(executor: Executor, model: Model | None, subject: Subject, at_once: int) -> EnginePlan:
    host = detect_host()
    pool = host.pools[0]
    gpus = tuple(range(subject.tp))
    kv_bytes = _KV_BYTES
    if model is not None:
        context = min(model.context_tokens, executor.context_tokens or model.context_tokens)
        most = max((pool.memory_bytes - model.weight_bytes) * _FREE_SHARE, _KV_BYTES)
        kv_bytes = min(max(at_once * model.kv_bytes(context), _KV_BYTES), most)
    return EnginePlan(
        name=executor.name,
        executor=executor.name,
        executor_digest=executor.digest,
        runner="vllm",
        model=executor.model,
        slot=f"{pool.name}/{'gpu' if gpus else 'cpu'}",
        device="gpu" if gpus else "cpu",
        tp=max(1, subject.tp),
        replicas=1,
        concurrency=at_once,
        places=(Place(pool.name, 0, gpus),),
        start_s=0.0,
        end_s=0.0,
        startup_s=0.0,
        cores=executor.cores or pool.cpu.cores,
        kv_cache_bytes=kv_bytes,
    )
