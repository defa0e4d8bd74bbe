"""What a server tells of itself, from the text of a vLLM 0.32 server, and from anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from murakkab.runtime.serving.metrics import COUNTERS, ServerMetrics, read_metrics

TEXT = (Path(__file__).parent / "data" / "metrics.txt").read_text()


def test_a_servers_figures_are_read() -> None:
    found = read_metrics(TEXT)
    assert found == ServerMetrics(3.0, 2.0, 0.25, 62102.0, 181076.0, 62102.0, 896.0, 4.0)
    assert found.hit_rate == 896.0 / 62102.0


def test_engines_of_a_server_are_added_up_but_for_the_fullest_cache() -> None:
    second = TEXT.replace('engine="0"', 'engine="1"').replace("} 0.25", "} 0.75")
    lines = [line for line in second.splitlines() if not line.startswith("#")]
    found = read_metrics(TEXT + "\n".join(lines) + "\n")
    assert found is not None
    assert (found.running, found.kv_use, found.output_tokens) == (6.0, 0.75, 362152.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "process_cpu_seconds_total 4.0\n",
        "<html><body>hello</body></html>",
        '{"detail":"Not Found"}',
        "vllm:num_requests_running{ 1.0",
        "vllm:num_requests_running",
        "vllm:num_requests_running{} x",
        "# TYPE\n# HELP\n",
    ],
)
def test_what_is_none_of_vllms_is_none(text: str) -> None:
    assert read_metrics(text) is None


_SHARDS = st.sampled_from(
    [*'{}=",# \n\\', "vllm:num_requests_running", "# TYPE ", "# HELP ", "1.0", "NaN", "le", "x"]
)


@given(st.lists(_SHARDS | st.text(max_size=2), max_size=30).map("".join))
def test_no_text_breaks_the_reader(text: str) -> None:
    found = read_metrics(text)
    assert found is None or isinstance(found, ServerMetrics)


def test_counters_are_counted_from_an_earlier_reading_and_gauges_are_as_they_are() -> None:
    before, now = (
        ServerMetrics(5, 5, 0.5, 10, 20, 30, 4, 1),
        ServerMetrics(1, 2, 0.25, 15, 26, 37, 8),
    )
    assert ServerMetrics(1, 2, 0.25, 15, 26, 37, 8, 1).since(before) == ServerMetrics(
        1, 2, 0.25, 5, 6, 7, 4, 0
    )
    assert now.since(before) == now  # a restarted server counts from zero
    assert now.since(ServerMetrics()) == now


def test_two_servers_figures_add_up() -> None:
    one, other = ServerMetrics(1, 2, 0.5, 3, 4, 5, 6, 7), ServerMetrics(1, 1, 0.25, 1, 1, 1, 1, 1)
    assert one.plus(other) == ServerMetrics(2, 3, 0.5, 4, 5, 6, 7, 8)
    assert len(COUNTERS) == 5


def test_without_queries_there_is_no_hit_rate() -> None:
    assert ServerMetrics().hit_rate is None
