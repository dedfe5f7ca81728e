"""Traces by OpenTelemetry, only where the environment asks for them (`OTEL_*`), by its own SDK.

`coderunner[otel]` has the SDK. Without it, or without such a variable, `span` does nothing. Spans carry names
of the server's own (languages, reasons, calls), ids of sessions and of requests, and sizes; never a program's
text, output, token or address.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from coderunner import logs
from coderunner.logs import fields

log = logging.getLogger(__name__)

PREFIX = "OTEL_"
# A collector that is away must not delay the stop of a server.
FLUSH_MS = 2000  # for the last spans, when the server stops
_tracer: Any = None
_provider: Any = None


class Span:
    """A span that was begun and is ended elsewhere. Without traces it does nothing."""

    __slots__ = ("_span",)

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def note(self, **attributes: Any) -> None:
        """Adds attributes; None is left out."""
        if self._span is not None:
            self._span.set_attributes(_named(attributes))

    def end(self, error: str | None = None) -> None:
        """Ends it, as failed if there is an `error` (a code)."""
        if self._span is None:
            return
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


_NOTHING = Span()


def begin(name: str, **attributes: Any) -> Span:
    """Begins a span below the current one. The caller must end it."""
    if _tracer is None:
        return _NOTHING
    return Span(_tracer.start_span(name, attributes=_named({**logs.context(), **attributes})))


@contextlib.contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """A span around a block; spans that begin within it are below it. An error that leaves it is its own."""
    if _tracer is None:
        yield _NOTHING
        return
    told = _named({**logs.context(), **attributes})
    # No exception is recorded: its text may hold a path or a program's output.
    with _tracer.start_as_current_span(name, attributes=told, record_exception=False) as made:
        yield Span(made)


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"coderunner.{name}": value for name, value in attributes.items() if value is not None}


def begin_tracing(environ: Mapping[str, str], instance: str, version: str) -> bool:
    """Starts sending traces if the environment asks for it; returns whether it does. `instance`:
    INSTANCE_NAME."""
    global _tracer, _provider  # one for the process, as the metrics are
    asked = any(name.startswith(PREFIX) and value.strip() for name, value in environ.items())
    off = (
        environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if not asked or off:
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning(
            "no traces: OTEL_ is set, and OpenTelemetry is not installed; install coderunner[otel]",
            extra=fields(missing=error.name),
        )
        return False
    # The SDK reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES by itself, which count more.
    named = environ.get("OTEL_SERVICE_NAME") or "coderunner"
    facts = {"service.name": named, "service.instance.id": instance, "service.version": version}
    _provider = TracerProvider(resource=Resource.create(facts))
    _provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter())
    )  # a bounded queue, in a thread of its own
    _tracer = _provider.get_tracer("coderunner", version)
    log.info("traces are sent", extra=fields(to=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")))
    return True


def active() -> bool:
    """Whether traces are sent."""
    return _tracer is not None


def end_tracing() -> None:
    """Sends the last spans, for FLUSH_MS at most. Blocks; to be called in a thread."""
    global _tracer, _provider
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.force_flush(FLUSH_MS)
