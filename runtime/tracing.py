"""Spans of runs, step calls and requests for OpenTelemetry, sent where its environment says.

    run (`invoke_workflow NAME`)
      step call (`step NAME`), all its attempts together
        request (`chat MODEL`), one for each that was sent to a model

Names and attributes are those of the semantic conventions for generative AI, v0.1.0
(https://github.com/open-telemetry/semantic-conventions-genai); what they have no word for begins
with `murakkab.`. No span holds a prompt, an answer, an error's words (which may quote either), or
a key.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from ..ir.diagnostics import Diagnostic, InputError
from .messages import Submit
from .worker import Usage

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span, SpanKind, Tracer

_BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_LOCAL = "http://localhost:4318"  # where the specification has collectors listen
_HTTP = "http/protobuf"
# What a run may wait at its end for spans to be taken.
_PATIENCE_S = 2.0
_Attributes = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Whom requests go to.

    `operation` and `provider` are words of the conventions where they have one: `chat`,
    `embeddings`; `openai` for whatever speaks its protocol. `url` is any address on the server.
    """

    operation: str
    provider: str
    model: str
    url: str

    def attributes(self) -> _Attributes:
        """Return what the conventions call this."""
        parts = urlsplit(self.url)
        return {
            "gen_ai.operation.name": self.operation,
            "gen_ai.provider.name": self.provider,
            "gen_ai.request.model": self.model,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }


def tracing_from_environment(environ: Mapping[str, str]) -> Tracing | None:
    """Return what sends spans, None (and nothing is imported) where none are asked for.

    They are asked for by `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or
    `OTEL_TRACES_EXPORTER=otlp`, unless `OTEL_SDK_DISABLED=true` or `OTEL_TRACES_EXPORTER=none`;
    further settings (headers, certificates, time-outs, sampling) the OpenTelemetry packages read
    themselves. Raises `InputError` for what cannot be done: another exporter or protocol, an
    address that is none, packages that are not installed.
    """
    exporters = {e.strip() for e in environ.get("OTEL_TRACES_EXPORTER", "").split(",")} - {""}
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    addressed = bool(environ.get(_TRACES) or environ.get(_BASE))
    if disabled or "none" in exporters or not (exporters or addressed):
        return None
    _refuse_others(exporters, environ)
    endpoint = environ.get(_TRACES) or (environ.get(_BASE) or _LOCAL).rstrip("/") + "/v1/traces"
    shown = _shown(endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return Tracing(OTLPSpanExporter(endpoint), shown, _named(environ))
    except ImportError:
        message = "the environment asks for OpenTelemetry spans, whose packages are not installed"
        hint = "`pip install 'murakkab[otel]'`, or set `OTEL_SDK_DISABLED=true`"
        raise InputError(Diagnostic("missing-package", message, help=hint)) from None


def _refuse_others(exporters: set[str], environ: Mapping[str, str]) -> None:
    for other in sorted(exporters - {"otlp"}):
        message = f"`OTEL_TRACES_EXPORTER` names `{other}`, which cannot be used here"
        raise InputError(Diagnostic("unusable-telemetry", message, help="use `otlp` or `none`"))
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environ.get(name)
        if not protocol:
            continue
        if protocol.strip() == _HTTP:
            return  # the setting for traces goes before the one for everything
        message = f"`{name}` is `{protocol}`: spans are sent as `{_HTTP}` only"
        hint = f"set `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL={_HTTP}` and the address for that"
        raise InputError(Diagnostic("unusable-telemetry", message, help=hint))


def _shown(endpoint: str) -> str:
    """Return an address without what it may hold of secrets; raises `InputError` for no address."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https"):
        message = "the address that spans are to be sent to is not an HTTP URL"
        hint = f"set `{_BASE}` to something like `{_LOCAL}`"
        raise InputError(Diagnostic("unusable-telemetry", message, help=hint))
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _named(environ: Mapping[str, str]) -> _Attributes:
    """Return the service's name unless the environment gives one, which the SDK then reads."""
    elsewhere = "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if environ.get("OTEL_SERVICE_NAME") or elsewhere else {"service.name": "murakkab"}


class Tracing:
    """Makes spans and hands them to an exporter, in batches and from a thread of its own."""

    def __init__(self, exporter: SpanExporter, destination: str, resource: _Attributes) -> None:
        """Begin; `destination` is what to call the place they go to, `resource` who sends them."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Its complaints, many for one cause, are `close`'s to sum up; they still reach whoever
        # has configured logging.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
        self._exporter = _Counting(exporter)
        self._destination = destination
        self._made = 0
        # not at exit: that has no deadline
        self._provider = TracerProvider(resource=Resource.create(resource), shutdown_on_exit=False)
        processor = BatchSpanProcessor(cast("SpanExporter", self._exporter))
        self._provider.add_span_processor(processor)

    def run(
        self, workflow: str, target: str, plan_sha256: str, now: Callable[[], float]
    ) -> RunTrace:
        """Return the trace of a run; enter it to begin. `now` is the run's clock, in seconds."""
        attributes: _Attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.agent.name": workflow,
            "murakkab.target": target,
            "murakkab.plan.sha256": plan_sha256,
        }
        tracer = self._provider.get_tracer("murakkab")
        return RunTrace(tracer, f"invoke_workflow {workflow}", attributes, now, self._count)

    def _count(self, span: Span) -> None:
        self._made += span.is_recording()  # not those that sampling leaves out

    def close(self, patience_s: float = _PATIENCE_S) -> Diagnostic | None:
        """Send what is left; returns a warning where spans did not arrive in this time."""
        if self._exporter.failed and not self._exporter.delivered:
            self._exporter.shutdown()  # nobody has been there all along: do not wait for them
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(patience_s)
        if closing.is_alive():
            self._exporter.shutdown()  # ends its waiting between attempts
        missing = self._made - self._exporter.delivered
        if not missing:
            return None
        message = f"{missing} of {self._made} spans did not reach `{self._destination}`"
        hint = f"check that a collector listens there, or unset `{_BASE}`"
        if self._exporter.delivered and not self._exporter.failed:
            hint = "they came faster than they could be sent: raise `OTEL_BSP_MAX_QUEUE_SIZE`"
        return Diagnostic("undelivered-spans", message, severity="warning", help=hint)


class _Counting:
    """An exporter that keeps count for another."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._open = True
        self.delivered = 0
        self.failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result.name == "SUCCESS":
            self.delivered += len(spans)
        else:
            self.failed = True
        return result

    def shutdown(self) -> None:
        if self._open:
            self._open = False
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class RunTrace:
    """The spans of one run, while it is entered; all times are seconds of the run's clock."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        attributes: _Attributes,
        now: Callable[[], float],
        count: Callable[[Span], None],
    ) -> None:
        """Prepare; `count` is told of each span that is made."""
        from opentelemetry import trace

        self._api = trace
        self._tracer = tracer
        self._name = name
        self._attributes = attributes
        self._now = now
        self._count = count
        self._zero_ns = 0
        self._run: tuple[Span, Context] | None = None
        self._steps: dict[int, tuple[Span, Context]] = {}  # of calls at work, by their numbers

    def __enter__(self) -> RunTrace:
        """Begin the run, below the span that is current here if there is one."""
        self._zero_ns = time.time_ns() - round(self._now() * 1e9)
        inner = self._api.SpanKind.INTERNAL
        self._run = self._begin(self._name, inner, self._now(), self._attributes, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the run, with the class of what ended it if it failed, and the steps it left."""
        assert self._run is not None
        for span, _ in self._steps.values():
            self._end(span, self._now(), "cancelled")
        self._steps.clear()
        self._end(self._run[0], self._now(), None if kind is None else kind.__name__)

    def begin(self, call: Submit, at_s: float) -> None:
        """Note the launch of a call; the first attempt at it is what counts."""
        if call.id in self._steps:
            return
        attributes: _Attributes = {
            "murakkab.step": call.step.name,
            "murakkab.instance": call.instance,
            "murakkab.executor": call.step.executor or "",
            "murakkab.engine": call.step.engine or "",
        }
        name, inner = f"step {call.step.name}", self._api.SpanKind.INTERNAL
        self._steps[call.id] = self._begin(name, inner, at_s, attributes, self._run)

    def request(
        self,
        call: Submit,
        server: ModelServer,
        start_s: float,
        end_s: float,
        usage: Usage | None,
        error: str | None,
    ) -> None:
        """Note a request that a call made; `error` as for `end`, an HTTP status being one."""
        attributes = server.attributes() | {"murakkab.attempt": call.attempt}
        if usage is not None:
            attributes["gen_ai.usage.input_tokens"] = usage.prompt_tokens
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
            attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
        # one that was given up may be told of after its call has ended
        parent = self._steps.get(call.id, self._run)
        name, client = f"{server.operation} {server.model}", self._api.SpanKind.CLIENT
        span, _ = self._begin(name, client, start_s, attributes, parent)
        self._end(span, end_s, error)

    def end(self, call: Submit, at_s: float, error: str | None) -> None:
        """Note that a call has ended and will not be repeated.

        `error` is a word for the class of what went wrong (`timeout`), never what was said.
        """
        span, _ = self._steps.pop(call.id)
        span.set_attribute("murakkab.attempts", call.attempt)
        self._end(span, at_s, error)

    def _begin(
        self,
        name: str,
        kind: SpanKind,
        at_s: float,
        attributes: _Attributes,
        parent: tuple[Span, Context] | None,
    ) -> tuple[Span, Context]:
        """Return a new span, and the context for those below it."""
        context = None if parent is None else parent[1]
        span = self._tracer.start_span(name, context, kind, attributes, start_time=self._ns(at_s))
        return span, self._api.set_span_in_context(span)

    def _end(self, span: Span, at_s: float, error: str | None) -> None:
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(self._api.StatusCode.ERROR)
        self._count(span)
        span.end(self._ns(at_s))

    def _ns(self, at_s: float) -> int:
        return self._zero_ns + round(at_s * 1e9)
