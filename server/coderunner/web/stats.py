"""The document of `GET /api/queue-stats`, made from snapshots taken at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from coderunner.core.admission import QueueStats
from coderunner.fleet.workers import WorkerStats

NEARLY_FULL = 0.8
"""Above this share of the queue's places in use, the document warns."""


def queue_stats(
    *,
    timestamp: str,
    queue: QueueStats,
    workers: WorkerStats,
    warm_pool: Mapping[str, Any],
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """`status` is `ok`, `degraded` (there are warnings) or `draining`. Times are milliseconds.

    `warm_pool` is passed through; `warnings` of other parts come before those found here.
    """
    found = [*warnings, *_warnings(queue, workers)]
    return {
        "status": "draining" if queue.draining else "degraded" if found else "ok",
        "timestamp": timestamp,
        "queue": {
            "queued": queue.queued,
            "active": queue.active,
            "maxConcurrent": queue.slots,
            "completedTasks": queue.completed,
            "failedTasks": queue.failed,
            "averageTaskTime": round(queue.average_task_ms, 1),
            "maxQueueSize": queue.max_queue,
            "queuedByLanguage": dict(sorted(queue.queued_by_language.items())),
            "queueUtilization": round(_utilization(queue), 4),
            "memoryBytes": queue.memory,
            "maxMemoryBytes": queue.memory_limit,
        },
        "warnings": found,
        "workerPool": {
            "totalWorkers": workers.total,
            "activeWorkers": workers.active,
            "idleWorkers": workers.idle,
            "queuedTasks": workers.queued,
            "completedTasks": workers.completed,
            "failedTasks": workers.failed,
            "averageTaskTime": round(workers.average_task_ms, 1),
        },
        "warmPool": dict(warm_pool),
    }


def _utilization(queue: QueueStats) -> float:
    return min(1.0, queue.queued / queue.max_queue) if queue.max_queue else 0.0


def _warnings(queue: QueueStats, workers: WorkerStats) -> list[str]:
    found = []
    if queue.draining:
        found.append("The server is stopping: no new sessions are taken.")
    if _utilization(queue) >= NEARLY_FULL:
        found.append(f"The queue is nearly full: {queue.queued} of {queue.max_queue} places are taken.")
    if queue.active >= queue.slots:
        found.append(f"All {queue.slots} slots are taken ({queue.active} live sessions).")
    elif queue.queued and not queue.draining:
        mib = queue.memory // 2**20
        found.append(f"Who is next waits for memory: live sessions may use {mib} MiB (SESSION_MEMORY).")
    if workers.idle == 0 and workers.queued > workers.total:
        found.append(f"All {workers.total} workers are busy, and {workers.queued} tasks wait for one.")
    return found
