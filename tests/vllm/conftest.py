"""Models, servers and a proxy that the tests against real vLLM share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .models import SERVER_ARGS, write_library, write_models
from .proxy import FaultProxy, in_background
from .served import served


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `large` and `small`."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture(scope="session")
def models_apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same models in a folder of their own: what serves them has been started by a run."""
    folder = tmp_path_factory.mktemp("apart")
    write_models(folder)
    return folder


@pytest.fixture(scope="session")
def library(models: Path) -> Path:
    """An executor library of the two models."""
    return write_library(models / "library.toml")


@pytest.fixture(scope="session")
def server_small(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, without a path, of a running server of `small`."""
    log = tmp_path_factory.mktemp("logs") / "small.log"
    with served(models / "small", SERVER_ARGS, log) as url:
        yield url


@pytest.fixture
def proxy(server_small: str) -> Iterator[FaultProxy]:
    """A fault-injecting proxy in front of `server_small`, in a thread of its own."""
    with in_background(server_small) as running:
        yield running
