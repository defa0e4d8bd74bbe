"""Batch fusion on a real server: texts that are wanted in the same moment go in one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .models import CONTEXT_TOKENS
from .proxy import in_background
from .served import served
from .test_prefix import counted
from .workflows import mkb, questions

POOLING = f"--runner pooling --convert embed --enforce-eager --max-model-len {CONTEXT_TOKENS}"
TEXTS = 48
EMBED = """
import "std/text"
workflow embedded(questions: [Text]) -> [Embedding]
    expect len(questions) = 48
    expect questions.tokens = 960
{
    return for question in questions { yield embed(question) }
}
"""
SEARCH = """
import "std/text"
workflow found(questions: [Text]) -> [[Text]]
    expect len(questions) = 48
    expect questions.tokens = 960
{
    return for question in questions { yield search("Like " + question, questions) }
}
"""
ENTRY = """
[[executor]]
name = "small-{interface}"
implements = "{interface}"
description = "An embedding model with random weights"
runner = "vllm"
model = "./small"
devices = ["cpu"]
cores = 1
quality = {{ value = 1.0, metric = "none", source = "weights are random" }}
[executor.work]
prompt_tokens = "{tokens}"
[executor.result]
{result}
[executor.settings]
server_args = "{arguments}"
batch = {batch}
"""
SIZES = {
    "embed": ("tokens(text)", ""),
    "search": (
        "tokens(query) + tokens(passages)",
        'len = 5\n"item.tokens" = "tokens(passages) / max(1, len(passages))"',
    ),
}


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, without a path, of a running server that embeds."""
    with served(models / "small", POOLING, tmp_path_factory.mktemp("logs") / "pooling.log") as url:
        yield url


@dataclass(frozen=True)
class Run:
    """What a run gave, in how many requests, and the tokens that the server computed for it."""

    result: Any
    requests: int
    tokens: float


def carried_out(server: str, models: Path, folder: Path, interface: str, batch: int) -> Run:
    """Run a workflow, at most `batch` texts of different calls to a request."""
    tokens, result = SIZES[interface]
    source = EMBED if interface == "embed" else SEARCH
    library = models / f"{interface}-{batch}.toml"
    written = ENTRY.format(
        interface=interface, tokens=tokens, result=result, arguments=POOLING, batch=batch
    )
    library.write_text(written)
    before = counted(server)
    with in_background(server) as proxy:
        endpoint = f"small-{interface}={proxy.url}"
        done, document = mkb(folder, source, questions(TEXTS), library, endpoint)
        assert done.returncode == 0, done.stdout + done.stderr
        computed = counted(server).since(before).prompt_tokens
        return Run(document["result"], sum(proxy.arrived.values()), computed)


def test_embeddings_are_asked_for_together(server: str, models: Path, tmp_path: Path) -> None:
    alone = carried_out(server, models, tmp_path, "embed", 1)
    together = carried_out(server, models, tmp_path, "embed", 32)
    assert alone.requests == TEXTS and together.requests <= TEXTS / 8
    assert together.tokens == alone.tokens
    for one, other in zip(together.result, alone.result, strict=True):
        # as far as a server computes the same in batches of other sizes
        assert one == pytest.approx(other, abs=0.01)


def test_searches_send_what_they_search_in_once(server: str, models: Path, tmp_path: Path) -> None:
    alone = carried_out(server, models, tmp_path, "search", 1)
    together = carried_out(server, models, tmp_path, "search", 32)
    assert alone.requests == TEXTS and together.requests <= TEXTS / 8
    assert together.tokens < alone.tokens / 8
    assert together.result == alone.result
