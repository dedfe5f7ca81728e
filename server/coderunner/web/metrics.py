"""`GET /metrics` for Prometheus, which requires the operator's key."""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from coderunner import __version__
from coderunner.metrics import REGISTRY
from coderunner.web import guard
from coderunner.web.keys import PARTS, SNAPSHOT, Parts


class Snapshot(Collector):
    """A collector that reads the server's state when it is scraped, instead of keeping gauges up to date."""

    def __init__(self, parts: Parts, sockets: set[object]) -> None:
        self._parts = parts
        self._sockets = sockets
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        """Returns nothing. Otherwise registering would call `collect`, before the parts have been started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics with their present values."""
        parts = self._parts
        # Prometheus' convention for constant facts: a gauge of 1 with labels.
        about = GaugeMetricFamily("coderunner_info", "Always 1.", labels=["version", "instance_name"])
        about.add_metric([__version__, parts.settings.instance_name], 1)
        yield about
        yield _gauge("coderunner_websockets", "Open WebSockets.", len(self._sockets))
        yield _gauge(
            "coderunner_attachments", "Clients attached to sessions.",
            sum(len(session.channels.attachments) for session in parts.registry.sessions.values()),
        )  # fmt: skip
        rows, size = parts.store.waiting
        yield _gauge("coderunner_database_down", "1 while it cannot be used.", len(parts.store.warnings()))
        yield _gauge("coderunner_database_queue_rows", "Rows that wait to be written.", rows)
        yield _gauge("coderunner_database_queue_bytes", "Bytes of those rows.", size)
        yield from self._queue()
        yield from self._workers()
        yield from self._warm()
        states = GaugeMetricFamily("coderunner_languages", "Languages, by status.", labels=["status"])
        for status, count in sorted(self._languages().items()):
            states.add_metric([status], count)
        yield states

    def _queue(self) -> Iterator[Metric]:
        queue = self._parts.registry.queue.stats()
        yield _gauge("coderunner_sessions", "Live sessions.", queue.active)
        yield _gauge("coderunner_sessions_max", "MAX_CONCURRENT_SESSIONS.", queue.slots)
        yield _gauge("coderunner_queue_waiting", "Requests for a session that wait for a slot.", queue.queued)
        yield _gauge("coderunner_queue_max", "MAX_QUEUE_SIZE.", queue.max_queue)
        yield _gauge(
            "coderunner_session_memory_bytes", "What the live sessions may use in all.", queue.memory
        )
        yield _gauge("coderunner_session_memory_max_bytes", "SESSION_MEMORY.", queue.memory_limit)
        yield _gauge("coderunner_draining", "1 while no session is taken any more.", int(queue.draining))

    def _workers(self) -> Iterator[Metric]:
        workers = self._parts.workers.stats()
        states = GaugeMetricFamily("coderunner_workers", "Workers of the pool, by state.", labels=["state"])
        states.add_metric(["active"], workers.active)
        states.add_metric(["idle"], workers.idle)
        yield states
        yield _gauge("coderunner_worker_tasks_waiting", "Tasks that wait for a worker.", workers.queued)
        tasks = CounterMetricFamily("coderunner_worker_tasks", "Tasks that ended.", labels=["outcome"])
        tasks.add_metric(["completed"], workers.completed)
        tasks.add_metric(["failed"], workers.failed)
        yield tasks

    def _warm(self) -> Iterator[Metric]:
        pool = self._parts.warm.stats()
        held = GaugeMetricFamily(
            "coderunner_warm_containers", "Containers made ahead of time.", labels=["language", "state"]
        )
        taken = CounterMetricFamily(
            "coderunner_warm_takes", "Sessions that found a warm container, or none.",
            labels=["language", "result"],
        )  # fmt: skip
        for name, one in pool.languages.items():
            held.add_metric([name, "ready"], one.ready)
            held.add_metric([name, "starting"], one.starting)
            taken.add_metric([name, "hit"], one.hits)
            taken.add_metric([name, "miss"], one.misses)
        yield held
        yield taken

    def _languages(self) -> dict[str, int]:
        catalog = self._parts.catalog
        found: dict[str, int] = {}
        for name in catalog.languages:
            status = catalog.state(name).status
            found[status] = found.get(status, 0) + 1
        return found


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


async def metrics(request: web.Request) -> web.Response:
    """Returns all metrics in Prometheus' text format. Raises Unauthenticated without the operator's key."""
    # The figures tell how busy a server is and what it runs. Without a key only this machine can read them.
    await guard.require(request.app[PARTS], request, "metrics")
    text = generate_latest(REGISTRY) + generate_latest(request.app[SNAPSHOT])
    headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"}
    return web.Response(body=text, headers=headers)
