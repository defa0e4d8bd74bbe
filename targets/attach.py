"""What executors learn elsewhere: the endpoint that runs them already, their model's context."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .catalog import Catalog
from .cluster import Cluster, Endpoint
from .endpoint import EndpointPlan, moved, unusable_url
from .library import Executor, Library

_ATTACHES = ("vllm", "openai")


def with_endpoints(cluster: Cluster, endpoints: Sequence[tuple[str, str]]) -> Cluster:
    """Return a cluster with further endpoints, (executor, URL), or other URLs for those it has.

    Raises `InputError` where a URL cannot be used.
    """
    if not endpoints:
        return cluster
    known = {endpoint.executor: endpoint for endpoint in cluster.endpoints}
    for name, url in endpoints:
        why = unusable_url(url)
        if why is not None:
            raise InputError(Diagnostic("usage", f"`--endpoint {name}=…`: {why}"))
        found = known.get(name, Endpoint(name, EndpointPlan(url)))
        known[name] = replace(found, plan=moved(found.plan, url))
    said = "".join(f"{name}={url}\n" for name, url in endpoints)
    digest = hashlib.sha256((cluster.digest + said).encode()).hexdigest()
    return replace(cluster, endpoints=tuple(known.values()), digest=digest)


def with_contexts(library: Library, catalog: Catalog) -> Library:
    """Return a library whose language models have the context that this catalogue says.

    An executor that states its own, or whose model is a folder, has it already.
    """
    executors = tuple(_with_context(executor, catalog) for executor in library.executors)
    return replace(library, executors=executors)


def _with_context(executor: Executor, catalog: Catalog) -> Executor:
    model = catalog.models.get(executor.model or "")
    if executor.context_tokens is not None or model is None or model.kind != "llm":
        return executor
    return replace(executor, context_tokens=model.context_tokens)


def attach(library: Library, cluster: Cluster) -> Library:
    """Return a library whose executors run at the cluster's endpoints, where it has any for them.

    Raises `InputError` where an endpoint is of no executor, or of one that no server can carry out.
    """
    if not cluster.endpoints:
        return library
    endpoints = {endpoint.executor: endpoint for endpoint in cluster.endpoints}
    findings = [found for e in cluster.endpoints if (found := _misplaced(e, library)) is not None]
    if findings:
        raise InputError(findings)
    executors = tuple(
        _attached(executor, endpoints[executor.name]) if executor.name in endpoints else executor
        for executor in library.executors
    )
    return replace(library, executors=executors)


def _misplaced(endpoint: Endpoint, library: Library) -> Diagnostic | None:
    executor = library.get(endpoint.executor)
    if executor is None:
        names = [e.name for e in library.executors if e.runner in _ATTACHES]
        message = f"no executor is named `{endpoint.executor}`, so nothing can run at its endpoint"
        hint = did_you_mean(endpoint.executor, names) or "`mkb library` lists the executors"
        return Diagnostic("unknown-executor", message, endpoint.loc, help=hint)
    if executor.runner in _ATTACHES:
        return None
    message = f"`{executor.name}` is of runner `{executor.runner}`, which no endpoint carries out"
    return Diagnostic("unusable-endpoint", message, endpoint.loc)


def _attached(executor: Executor, endpoint: Endpoint) -> Executor:
    plan = endpoint.plan
    return replace(
        executor,
        devices=("remote",),
        usd_per_mtok=plan.usd_per_mtok or executor.usd_per_mtok,
        endpoint=replace(plan, usd_per_mtok=plan.usd_per_mtok or executor.usd_per_mtok),
        endpoint_concurrency=endpoint.concurrency,
    )
