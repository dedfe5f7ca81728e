"""Builds the document of `GET /api/queue-stats` from snapshots of queue, workers and warm pool."""

from __future__ import annotations

from collections.abc import Iterable

from coderunner.core.admission import QueueStats
from coderunner.fleet.workers import WorkerStats
from coderunner.schema.answers import QueueBlock, QueueStatistics, WarmPoolBlock, WorkersBlock

NEARLY_FULL = 0.8
"""The share of the queue's places from which on the document has a warning."""


def queue_stats(
    *,
    timestamp: str,
    queue: QueueStats,
    workers: WorkerStats,
    warm_pool: WarmPoolBlock,
    warnings: Iterable[str] = (),
) -> QueueStatistics:
    """Returns the document. Its `status` is `draining`, `degraded` if there are warnings, or `ok`.

    `timestamp`: ISO 8601 in UTC. `warnings`: those of other parts, which come before those found here.
    """
    found = (*warnings, *_warnings(queue, workers))
    # Draining wins: monitoring must not take a planned stop for a problem.
    return QueueStatistics(
        status="draining" if queue.draining else "degraded" if found else "ok",
        timestamp=timestamp,
        queue=QueueBlock(
            queued=queue.queued,
            active=queue.active,
            max_concurrent=queue.slots,
            completed_tasks=queue.completed,
            failed_tasks=queue.failed,
            average_task_time=round(queue.average_task_ms, 1),
            max_queue_size=queue.max_queue,
            queued_by_language=dict(sorted(queue.queued_by_language.items())),
            queue_utilization=round(_utilization(queue), 4),
            memory_bytes=queue.memory,
            max_memory_bytes=queue.memory_limit,
        ),
        warnings=found,
        worker_pool=WorkersBlock(
            total_workers=workers.total,
            active_workers=workers.active,
            idle_workers=workers.idle,
            queued_tasks=workers.queued,
            completed_tasks=workers.completed,
            failed_tasks=workers.failed,
            average_task_time=round(workers.average_task_ms, 1),
        ),
        warm_pool=warm_pool,
    )


def _utilization(queue: QueueStats) -> float:
    return min(1.0, queue.queued / queue.max_queue) if queue.max_queue else 0.0


def _warnings(queue: QueueStats, workers: WorkerStats) -> list[str]:
    found = []
    if queue.draining:
        found.append("The server is stopping: no new sessions are taken.")
    if _utilization(queue) >= NEARLY_FULL:
        found.append(f"The queue is nearly full: {queue.queued} of {queue.max_queue} places are taken.")
    # Only one of the two: with all slots taken, memory is not what a client waits for.
    if queue.active >= queue.slots:
        found.append(f"All {queue.slots} slots are taken ({queue.active} live sessions).")
    elif queue.queued and not queue.draining:
        mib = queue.memory // 2**20
        found.append(f"Who is next waits for memory: live sessions may use {mib} MiB (SESSION_MEMORY).")
    # A short queue is normal; more tasks than workers means that the engine is slow.
    if workers.idle == 0 and workers.queued > workers.total:
        found.append(f"All {workers.total} workers are busy, and {workers.queued} tasks wait for one.")
    return found
