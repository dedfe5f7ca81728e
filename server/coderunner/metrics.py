"""The server's metrics, for Prometheus.

One registry for the process, which is one server. Current levels (sessions, workers, sockets)
are not counted here but read at each request: `web/metrics.py`. Label values come from the server's own
lists (languages, reasons, calls), never from a client, so that their number is bounded.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

# Not the library's default one, into which any library may put figures of its own.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# Upper bounds of buckets, in seconds.
# Around what docs/performance.md has for an echo and for an opening.
FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
SLOW = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
LAG_SECONDS = 0.1
"""Between two measurements of the event loop's lateness."""
ECHO_SECONDS = 5.0
"""Output that comes later than this after a key is the program's, not the key's echo."""

open_seconds = Histogram(
    "coderunner_open_seconds", "From a slot to an opened session.", ["warm"], buckets=SLOW, registry=REGISTRY
)
queue_wait_seconds = Histogram(
    "coderunner_queue_wait_seconds", "From a client's `open` to its slot.", buckets=SLOW, registry=REGISTRY
)
first_byte_seconds = Histogram(
    "coderunner_first_byte_seconds", "From `run` to the first byte of output, a compiler's included.",
    ["language"], buckets=SLOW, registry=REGISTRY,
)  # fmt: skip
echo_seconds = Histogram(
    "coderunner_echo_seconds",
    "From a key on a terminal to the next output there; later than 5 s is not counted.",
    buckets=FAST, registry=REGISTRY,
)  # fmt: skip
opens_failed = Counter(
    "coderunner_opens_failed_total", "Openings of sessions that had begun and failed, by error code.",
    ["code"], registry=REGISTRY,
)  # fmt: skip
runs_ended = Counter(
    "coderunner_runs_ended_total", "Programs that ended, by language and reason.",
    ["language", "reason"], registry=REGISTRY,
)  # fmt: skip
sessions_ended = Counter(
    "coderunner_sessions_ended_total", "Sessions that ended, by reason.", ["reason"], registry=REGISTRY
)
resumes = Counter(
    "coderunner_resumes_total", "Clients that attached to a live session: back after a cut, or to watch.",
    ["role"], registry=REGISTRY,
)  # fmt: skip
gaps = Counter(
    "coderunner_output_gaps_total", "Places in its output that a client could not be sent any more.",
    registry=REGISTRY,
)  # fmt: skip
gap_bytes = Counter("coderunner_output_gap_bytes_total", "Bytes of output in those gaps.", registry=REGISTRY)
engine_seconds = Histogram(
    "coderunner_engine_call_seconds", "Calls of the container engine, by what was asked and what came of it.",
    ["call", "outcome"], buckets=SLOW, registry=REGISTRY,
)  # fmt: skip
loop_lag_seconds = Histogram(
    "coderunner_loop_lag_seconds", "Lateness of the event loop, measured ten times a second.",
    buckets=FAST, registry=REGISTRY,
)  # fmt: skip
socket_bytes = Counter(
    "coderunner_websocket_bytes_total", "Bytes of messages, in from clients and out to them.",
    ["direction"], registry=REGISTRY,
)  # fmt: skip
store_dropped = Counter(
    "coderunner_database_rows_dropped_total",
    "Rows for the database that were given up: its queue was full, or it refused them.",
    ["table"], registry=REGISTRY,
)  # fmt: skip
bytes_in, bytes_out = socket_bytes.labels("in"), socket_bytes.labels("out")


class Stopwatch:
    """Measures the time until an event, such as a channel's first byte or the echo of a key.

    ``histogram``: observes the seconds. ``longest``: longer times are not observed; None: all are."""

    __slots__ = ("_began", "_histogram", "longest")

    def __init__(self, histogram: Histogram, longest: float | None = None) -> None:
        self._histogram = histogram
        self.longest = longest
        # The wall clock may be set back, which would give a negative time.
        self._began = time.monotonic()

    def stop(self) -> None:
        """Observes the seconds since it was made, unless they exceed ``longest``."""
        seconds = time.monotonic() - self._began
        if self.longest is None or seconds <= self.longest:
            self._histogram.observe(seconds)


async def watch_loop() -> None:
    """Observes the running loop's lateness, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        loop_lag_seconds.observe(max(0.0, loop.time() - due))
