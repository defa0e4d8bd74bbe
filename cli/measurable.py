"""What `mkb profile` is to measure, from its flags."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError

if TYPE_CHECKING:
    from ..runtime.profiling.campaign import Campaign
    from ..runtime.profiling.lengths import Lengths
    from ..runtime.profiling.subject import Subject
    from ..runtime.serving.endpoint import Endpoint
    from ..targets.catalog import Model
    from ..targets.library import Executor

_LIMIT_S = 120.0
_OF_LENGTHS = ("isl", "osl", "spread")
_OF_SERVERS = (
    "tp",
    "rates",
    "max_latency",
    "precision",
    "name",
    "model",
    "device",
    "gpus",
    "key_env",
)
_OF_ENDPOINTS = ("model", "device", "gpus", "key_env")


def refuse_clashes(wishes: Mapping[str, Any]) -> None:
    """Raise `UsageError` for flags that do not go together."""
    given = {name for name, value in wishes.items() if value not in (None, ())}
    if len(given & {"endpoint", "launch", "executor"}) != 1:
        raise click.UsageError(
            "give one of `--endpoint URL`, `--launch MODEL` and `--executor NAME`"
        )
    odd = sorted(given & {*_OF_SERVERS, *_OF_LENGTHS, "trace"})
    if "executor" in given and odd:
        flag = odd[0].replace("_", "-")
        raise click.UsageError(f"`--{flag}` is about servers; it does not go with `--executor`")
    if "inputs" in given and "executor" not in given:
        raise click.UsageError("`--input` is what a tool is called with: give `--executor NAME`")
    if "launch" in given and (odd := [name for name in _OF_ENDPOINTS if name in given]):
        flag = odd[0].replace("_", "-")
        raise click.UsageError(f"`--{flag}` is about endpoints; it does not go with `--launch`")
    if "trace" in given and given & set(_OF_LENGTHS):
        raise click.UsageError("`--trace` says all of lengths: leave `--isl`, `--osl`, `--spread`")


def campaign(wishes: Mapping[str, Any]) -> Campaign:
    """Return the loads, lengths and effort; raises `InputError` where the trace is wrong."""
    from ..runtime.profiling.campaign import Campaign
    from ..runtime.profiling.load import Effort, Load

    loads = [Load("closed", level) for level in wishes["loads"]]
    loads += [Load("open", rate) for rate in wishes["rates"]]
    effort = Effort(
        requests=wishes["requests"],
        repeats=wishes["repeats"],
        warmup=wishes["warmup"],
        limit_s=wishes["limit_s"] or _LIMIT_S,
        seed=wishes["seed"],
    )
    return Campaign(_lengths(wishes), tuple(loads), effort, wishes["max_latency"])


def _lengths(wishes: Mapping[str, Any]) -> Lengths:
    from ..runtime.profiling.lengths import (
        OUTPUT_TOKENS,
        PROMPT_TOKENS,
        SPREAD,
        LogNormal,
        read_trace,
    )

    if wishes["trace"] is not None:
        return read_trace(wishes["trace"])
    isl, osl, spread = (wishes[name] for name in _OF_LENGTHS)
    for name in _OF_LENGTHS:  # ranges of options let what is no number pass
        if wishes[name] is not None and not math.isfinite(wishes[name]):
            raise click.UsageError(f"`--{name}`: `{wishes[name]}` is not a number of tokens")
    return LogNormal(
        PROMPT_TOKENS if isl is None else isl,
        OUTPUT_TOKENS if osl is None else osl,
        SPREAD if spread is None else spread,
    )


def asked_endpoint(wishes: Mapping[str, Any]) -> tuple[Endpoint, Subject]:
    """Return the endpoint and how its rows are to be named; raises `InputError`."""
    from ..runtime.profiling.subject import Subject
    from ..runtime.serving.endpoint import Endpoint
    from ..targets.endpoint import base_url, unusable_url

    url = wishes["endpoint"]
    why = unusable_url(url)
    if why is not None:
        raise InputError(Diagnostic("usage", f"`--endpoint`: {why}"))
    device = wishes["device"] or "remote"
    on_gpus = device not in ("cpu", "remote")
    if wishes["tp"] is not None and not on_gpus:
        hint = "say on which GPUs: `--device H100-SXM5-80GB`"
        raise InputError(Diagnostic("usage", "`--tp` counts GPUs", help=hint))
    key = None
    if wishes["key_env"] is not None:
        key = os.environ.get(wishes["key_env"], "").strip()
        if not key:
            message = f"the environment variable `{wishes['key_env']}` is not set"
            raise InputError(Diagnostic("usage", message))
    endpoint = Endpoint(base_url(url), wishes["model"] or "", key, wishes["key_env"])
    subject = Subject(
        model=wishes["name"] or wishes["model"] or "",
        device=device,
        tp=(wishes["tp"] or 1) if on_gpus else 0,
        precision=wishes["precision"] or "",
    )
    return endpoint, subject


def asked_launch(wishes: Mapping[str, Any]) -> tuple[Executor, Model | None, Subject]:
    """Return what to start: an executor of the library by name, else a folder or a hub's model."""
    from ..runtime.profiling.subject import Subject
    from ..targets.catalog import load_catalog
    from ..targets.detect import detect_host
    from ..targets.model_folder import folder_model, is_folder

    executor = _executor(wishes["launch"], wishes["libraries"])
    pool = detect_host().pools[0]
    tp = wishes["tp"] or 1
    on_gpus = pool.gpu is not None and "gpu" in executor.devices
    if on_gpus and tp > pool.gpus:
        message = f"`--tp {tp}`: this machine has {pool.gpus} GPUs"
        raise InputError(Diagnostic("usage", message))
    if wishes["tp"] is not None and not on_gpus:
        raise InputError(Diagnostic("usage", "`--tp` counts GPUs, and none are used here"))
    model = load_catalog().models.get(executor.model or "")
    if is_folder(executor):
        model = folder_model(executor)
    subject = Subject(
        model=wishes["name"] or executor.model or "",
        device=pool.gpu.type if on_gpus and pool.gpu is not None else "cpu",
        tp=tp if on_gpus else 0,
        precision=wishes["precision"] or (model.precision if model is not None else ""),
    )
    return executor, model, subject


def _executor(asked: str, libraries: tuple[Path, ...]) -> Executor:
    from ..targets.library import Executor, Quality, load_named
    from ..targets.model_folder import names_folder

    known = load_named([asked], libraries).get(asked)
    if known is not None and known.runner != "vllm":
        message = f"`{asked}` is of runner `{known.runner}`: `--launch` starts model servers"
        raise InputError(Diagnostic("usage", message, help=f"`mkb profile --executor {asked}`"))
    if known is not None:
        return known
    folder = Path(asked)
    model = str(folder.absolute()) if folder.is_dir() and not names_folder(asked) else asked
    quality = Quality(1.0, "none", "not known")
    name = folder.name or asked
    return Executor(name, "generate", "", "vllm", ("gpu", "cpu"), quality, model=model, cores=0)


def metered_gpus(wishes: Mapping[str, Any], subject: Subject) -> tuple[int, ...] | None:
    """Return the GPUs whose energy is the server's, None for this machine's CPUs."""
    if wishes["gpus"] is not None:
        gpus: tuple[int, ...] = wishes["gpus"]
        return gpus
    if wishes["launch"] is not None and subject.tp:
        return tuple(range(subject.tp))
    return None if subject.device == "cpu" else ()
