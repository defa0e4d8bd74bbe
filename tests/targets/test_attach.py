"""Endpoints: which URLs and executors are accepted, what an attached one costs; contexts."""

from dataclasses import replace

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.attach import attach, with_contexts, with_endpoints
from murakkab.targets.catalog import Catalog, load_catalog
from murakkab.targets.cluster import Cluster
from murakkab.targets.cost import Slot
from murakkab.targets.costmodel import ProfileCostModel
from murakkab.targets.library import availability, load_library

NOWHERE = Cluster("c", ())
LIBRARY = load_library()
NAME = next(e.name for e in LIBRARY.executors if e.runner == "vllm")
TOOL = next(e.name for e in LIBRARY.executors if e.runner == "python")


def test_an_attached_executor_needs_nothing_here() -> None:
    cluster = with_endpoints(NOWHERE, [(NAME, "http://host:8000/v1/")])
    executor = attach(LIBRARY, cluster).get(NAME)
    assert executor is not None and executor.endpoint is not None
    assert executor.endpoint.url == "http://host:8000/v1"
    assert availability(executor) is None
    assert ProfileCostModel().slots(executor, cluster) == (Slot(None, "remote"),)
    assert cluster.digest != NOWHERE.digest


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "host:8000", "http://me:key@host/v1", "http://host/v1?key=1", "http://a b"],
)
def test_urls_that_cannot_be_endpoints(url: str) -> None:
    with pytest.raises(InputError) as caught:
        with_endpoints(NOWHERE, [(NAME, url)])
    assert f"`--endpoint {NAME}=…`" in caught.value.diagnostics[0].message


@pytest.mark.parametrize(
    ("name", "id"), [(NAME + "x", "unknown-executor"), (TOOL, "unusable-endpoint")]
)
def test_executors_that_no_endpoint_carries_out(name: str, id: str) -> None:
    with pytest.raises(InputError) as caught:
        attach(LIBRARY, with_endpoints(NOWHERE, [(name, "http://host/v1")]))
    assert [found.id for found in caught.value.diagnostics] == [id]


def test_a_catalogue_says_the_context_of_executors_that_do_not() -> None:
    executor = next(e for e in LIBRARY.executors if e.runner == "vllm" and e.context_tokens)
    model = load_catalog().models[executor.model or ""]
    asking = replace(LIBRARY, executors=(replace(executor, context_tokens=None), executor))
    smaller = Catalog({}, {}, {model.name: replace(model, context_tokens=1234)})
    told = with_contexts(asking, smaller).executors
    assert [e.context_tokens for e in told] == [1234, executor.context_tokens]
