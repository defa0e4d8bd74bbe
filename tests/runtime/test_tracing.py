"""Spans of runs: their tree and attributes, and what a collector really receives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_tracer_provider

from murakkab.ir.diagnostics import Diagnostic, InputError
from murakkab.ir.reader import read_module
from murakkab.runtime.attempts import Limits
from murakkab.runtime.messages import Submit
from murakkab.runtime.program import compile_program
from murakkab.runtime.state import RunState
from murakkab.runtime.tracing import ModelServer, RunTrace, Tracing, tracing_from_environment
from murakkab.runtime.worker import Usage

WORKFLOW = """module placed
task @ask(%x: Int) -> Int
engine @large
workflow @w(%xs: [Int]) -> [Int]
{
  %ys = map(%xs) { ^(%x: Int)
    %y = invoke @ask(%x) {engine = @large, executor = @qwen} : Int
    yield(%y)
  } : [Int]
  return(%ys)
}
"""
SERVER = ModelServer("chat", "vllm", "qwen", "http://127.0.0.1:8801/v1")


def _calls(*items: int) -> list[Submit]:
    """Return the calls that a run begins with: one of `ask` for each item."""
    state = RunState(compile_program(read_module(WORKFLOW, "test.mkir")), Limits())
    return [command for command in state.start([list(items)]) if isinstance(command, Submit)]


def _traced(tracing: Tracing, at_s: float = 100.0) -> RunTrace:
    return tracing.run("w", "vllm", "abc123", lambda: at_s)


class Kept:
    """Spans in memory, by name, in the order in which they ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(self.exporter, "memory", {"service.name": "test"})

    def spans(self) -> list[ReadableSpan]:
        assert self.tracing.close(60.0) is None
        return list(self.exporter.get_finished_spans())


def _own(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def _seconds(span: ReadableSpan, origin: ReadableSpan) -> tuple[float, float]:
    """Return begin and end of a span, counted from another's begin."""
    assert span.start_time is not None and span.end_time is not None
    assert origin.start_time is not None
    zero = origin.start_time
    return (span.start_time - zero) / 1e9, (span.end_time - zero) / 1e9


def test_a_run_is_a_tree_of_steps_and_requests() -> None:
    kept = Kept()
    one, two = _calls(1, 2)
    with _traced(kept.tracing) as trace:
        trace.begin(one, 101.0)
        trace.begin(two, 101.5)
        trace.request(two, SERVER, 101.5, 102.0, Usage(1, 300, 100, 7), None)
        trace.end(two, 102.0, None)
        trace.request(one, SERVER, 101.25, 103.0, Usage(1, 30, 0, 5), None)
        trace.end(one, 103.5, None)
    spans = kept.spans()
    assert [span.name for span in spans] == [
        "chat qwen", "step y", "chat qwen", "step y", "invoke_workflow w"
    ]  # fmt: skip
    second_request, second, first_request, first, run = spans
    assert run.parent is None
    for step, request in ((first, first_request), (second, second_request)):
        assert step.parent is not None and step.parent.span_id == _own(run)
        assert request.parent is not None and request.parent.span_id == _own(step)
    assert {span.context.trace_id for span in spans if span.context} == {
        run.context.trace_id if run.context else 0
    }
    assert _seconds(second, run) == pytest.approx((1.5, 2.0))
    assert _seconds(first, run) == pytest.approx((1.0, 3.5))
    assert _seconds(first_request, run) == pytest.approx((1.25, 3.0))


def test_spans_say_what_the_conventions_call_it() -> None:
    kept = Kept()
    (call,) = _calls(1)
    with _traced(kept.tracing) as trace:
        trace.begin(call, 101.0)
        trace.request(call, SERVER, 101.0, 102.0, Usage(1, 300, 100, 7), None)
        trace.end(call, 102.0, None)
    request, step, run = kept.spans()
    assert dict(run.attributes or {}) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.agent.name": "w",
        "murakkab.target": "vllm",
        "murakkab.plan.sha256": "abc123",
    }
    assert dict(step.attributes or {}) == {
        "murakkab.step": "y",
        "murakkab.instance": call.instance,
        "murakkab.executor": "qwen",
        "murakkab.engine": "large",
        "murakkab.attempts": 1,
    }
    assert dict(request.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "qwen",
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
        "server.port": 8801,
        "murakkab.attempt": 1,
    }
    assert [s.kind for s in (run, step, request)] == [
        SpanKind.INTERNAL, SpanKind.INTERNAL, SpanKind.CLIENT
    ]  # fmt: skip
    assert run.resource.attributes["service.name"] == "test"


def test_every_attempt_is_a_request_of_the_same_step() -> None:
    kept = Kept()
    (call,) = _calls(1)
    again = call._replace(attempt=2)
    with _traced(kept.tracing) as trace:
        trace.begin(call, 101.0)
        trace.request(call, SERVER, 101.0, 102.0, None, "429")
        trace.begin(again, 104.0)
        trace.request(again, SERVER, 104.0, 105.0, Usage(1, 10, 0, 1), None)
        trace.end(again, 105.0, None)
    refused, served, step, run = kept.spans()
    assert refused.parent == served.parent == step.context
    assert refused.status.status_code is StatusCode.ERROR
    assert refused.attributes is not None and served.attributes is not None
    assert refused.attributes["error.type"] == "429"
    assert "gen_ai.usage.input_tokens" not in refused.attributes
    assert (refused.attributes["murakkab.attempt"], served.attributes["murakkab.attempt"]) == (1, 2)
    assert step.attributes is not None and step.attributes["murakkab.attempts"] == 2
    assert step.status.status_code is StatusCode.UNSET
    assert _seconds(step, run) == pytest.approx((1.0, 5.0))


def test_a_failed_run_ends_what_it_left_and_says_no_word_of_the_error() -> None:
    kept = Kept()
    one, two = _calls(1, 2)
    with pytest.raises(RuntimeError), _traced(kept.tracing) as trace:
        trace.begin(one, 101.0)
        trace.begin(two, 101.0)
        trace.end(one, 102.0, "timeout")
        trace.request(one, SERVER, 101.0, 102.5, None, "cancelled")  # told of too late
        raise RuntimeError("the prompt was: secret")
    spans = kept.spans()
    run = spans[-1]
    types = [(span.name, (span.attributes or {})["error.type"]) for span in spans]
    assert types == [
        ("step y", "timeout"),
        ("chat qwen", "cancelled"),
        ("step y", "cancelled"),
        ("invoke_workflow w", "RuntimeError"),
    ]
    assert all(span.status.status_code is StatusCode.ERROR for span in spans)
    assert spans[1].parent == run.context
    assert "secret" not in "".join(span.to_json() for span in spans)


def test_a_run_is_below_the_span_it_was_called_in() -> None:
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import TracerProvider

    kept = Kept()
    outer = TracerProvider(shutdown_on_exit=False).get_tracer("caller").start_span("caller")
    with api.use_span(outer), _traced(kept.tracing):
        assert api.get_current_span() is outer
    (run,) = kept.spans()
    assert run.parent == outer.get_span_context()


def test_tracing_leaves_the_programs_own_telemetry_alone() -> None:
    before = get_tracer_provider()
    with _traced(Kept().tracing):
        assert get_tracer_provider() is before


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("https://api.example.com/v1", "api.example.com", 443),
        ("http://user:key@host/v1?key=key", "host", 80),
        ("http://[::1]:9000", "::1", 9000),
    ],
)
def test_a_servers_address_holds_no_key(url: str, address: str, port: int) -> None:
    attributes = ModelServer("embeddings", "openai", "m", url).attributes()
    assert attributes["server.address"] == address
    assert attributes["server.port"] == port
    assert "key" not in str(attributes)


# ---- as the environment says


class Collector:
    """An OTLP/HTTP receiver."""

    def __init__(self, status: int = 200, answers: Event | None = None) -> None:
        """Answer with a status, and not before `answers` is set where that is given."""
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if answers is not None:
                    answers.wait()
                collector.requests.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def _small_run(environ: Mapping[str, str], patience_s: float = 60.0) -> Diagnostic | None:
    """Trace a run of one step call with one request; returns the warning at its end."""
    tracing = tracing_from_environment(environ)
    assert tracing is not None
    (call,) = _calls(1)
    with _traced(tracing) as trace:
        trace.begin(call, 101.0)
        trace.request(call, SERVER, 101.0, 102.0, Usage(1, 300, 100, 7), None)
        trace.end(call, 102.0, None)
    return tracing.close(patience_s)


@pytest.mark.parametrize(
    ("variable", "path", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "/otel/", "/otel/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/elsewhere", "/elsewhere"),
    ],
)
def test_a_collector_receives_the_spans(
    collector: Collector, variable: str, path: str, expected: str
) -> None:
    assert _small_run({variable: collector.url + path}) is None
    received = [
        (where, span.name, resource.resource.attributes)
        for where, request in collector.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [(where, name) for where, name, _ in received] == [
        (expected, "chat qwen"), (expected, "step y"), (expected, "invoke_workflow w")
    ]  # fmt: skip
    service = {a.key: a.value.string_value for a in received[0][2]}["service.name"]
    assert service == "murakkab"


def test_an_unreachable_collector_costs_one_warning(capfd: pytest.CaptureFixture[str]) -> None:
    gone = Collector()
    gone.close()
    warning = _small_run({"OTEL_EXPORTER_OTLP_ENDPOINT": gone.url}, 0.1)
    assert warning is not None and warning.severity == "warning"
    assert warning.message == f"3 of 3 spans did not reach `{gone.url}/v1/traces`"
    assert capfd.readouterr() == ("", "")


def test_a_collector_that_refuses_costs_one_warning(capfd: pytest.CaptureFixture[str]) -> None:
    refusing = Collector(status=400)
    warning = _small_run({"OTEL_EXPORTER_OTLP_ENDPOINT": refusing.url})
    refusing.close()
    assert warning is not None and warning.id == "undelivered-spans"
    assert capfd.readouterr() == ("", "")


def test_a_collector_that_does_not_answer_is_not_waited_for() -> None:
    answers = Event()
    silent = Collector(answers=answers)
    warning = _small_run({"OTEL_EXPORTER_OTLP_ENDPOINT": silent.url}, 0.1)
    assert silent.requests == []  # `close` came back before any answer
    answers.set()
    silent.close()
    assert warning is not None and warning.message.startswith("3 of 3 spans did not reach")


def test_spans_that_did_not_fit_the_queue_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")  # the SDK reads it itself
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    answers = Event()
    slow = Collector(answers=answers)
    tracing = tracing_from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": slow.url})
    assert tracing is not None
    calls = _calls(*range(20))
    with _traced(tracing) as trace:
        for call in calls:
            trace.begin(call, 101.0)
            trace.end(call, 102.0, None)
    answers.set()
    warning = tracing.close(60.0)
    slow.close()
    sent = sum(
        len(scope.spans)
        for _, request in slow.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
    )
    assert warning is not None
    assert warning.message.startswith(f"{21 - sent} of 21 spans did not reach")
    assert warning.help is not None and "OTEL_BSP_MAX_QUEUE_SIZE" in warning.help


def test_a_warning_shows_no_key_of_the_address() -> None:
    gone = Collector()
    gone.close()
    secret = gone.url.replace("http://", "http://user:hunter2@") + "/x?key=hunter2"
    warning = _small_run({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": secret}, 0.1)
    assert warning is not None
    assert f"`{gone.url}/x`" in warning.message
    assert "hunter2" not in str(warning)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"},
        {"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"},
    ],
)
def test_nothing_is_made_where_nothing_is_asked_for(environ: dict[str, str]) -> None:
    assert tracing_from_environment(environ) is None


def test_nothing_is_imported_where_nothing_is_asked_for() -> None:
    program = (
        "import sys; from murakkab.runtime.tracing import tracing_from_environment as t; "
        "print(t({}), [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "None []\n"


def test_the_name_of_the_exporter_is_enough() -> None:
    tracing = tracing_from_environment({"OTEL_TRACES_EXPORTER": "otlp"})
    assert tracing is not None
    assert tracing.close() is None  # no spans, so none is missing


@pytest.mark.parametrize(
    ("environ", "message", "help"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "otlp, zipkin"},
            "`OTEL_TRACES_EXPORTER` names `zipkin`, which cannot be used here",
            "use `otlp` or `none`",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`: spans are sent as `http/protobuf` only",
            "set `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf` and the address for that",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"},
            "the address that spans are to be sent to is not an HTTP URL",
            "set `OTEL_EXPORTER_OTLP_ENDPOINT` to something like `http://localhost:4318`",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:port"},
            "the address that spans are to be sent to is not an HTTP URL",
            "set `OTEL_EXPORTER_OTLP_ENDPOINT` to something like `http://localhost:4318`",
        ),
    ],
)
def test_what_cannot_be_done_is_said(environ: dict[str, str], message: str, help: str) -> None:
    with pytest.raises(InputError) as refused:
        tracing_from_environment(environ)
    assert refused.value.diagnostics == (Diagnostic("unusable-telemetry", message, help=help),)


def test_the_protocol_for_traces_goes_before_the_general_one(collector: Collector) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    }
    assert _small_run(environ) is None


@pytest.mark.parametrize(
    "module", ["opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk.trace"]
)
def test_missing_packages_are_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as Python marks what cannot be imported
    with pytest.raises(InputError) as refused:
        tracing_from_environment({"OTEL_TRACES_EXPORTER": "otlp"})
    (found,) = refused.value.diagnostics
    assert found.id == "missing-package"
    assert found.help == "`pip install 'murakkab[otel]'`, or set `OTEL_SDK_DISABLED=true`"
