from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coderunner.core.admission import QueueStats
from coderunner.core.codec import encode_answer
from coderunner.fleet.workers import WorkerStats
from coderunner.schema.answers import WarmLanguage, WarmPoolBlock
from coderunner.web.stats import queue_stats

QUEUE = QueueStats(
    slots=50, active=3, queued=0, max_queue=200, completed=7, failed=1, average_task_ms=1234.56,
    queued_by_language={}, draining=False, memory=3 * 2**28, memory_limit=2**34,
)  # fmt: skip
WORKERS = WorkerStats(total=4, active=1, idle=3, queued=0, completed=9, failed=2, average_task_ms=20.04)

WARM = WarmPoolBlock(2, 1, 5, {"x": WarmLanguage(2, 1, 3, 4, 5)})


def build(queue=QUEUE, workers=WORKERS, **options):
    options = {"timestamp": "2024-01-01T00:00:00Z", "warm_pool": WARM, **options}
    return json.loads(encode_answer(queue_stats(queue=queue, workers=workers, **options)))


def test_the_whole_document():
    language = {"ready": 2, "starting": 1, "target": 3, "hits": 4, "misses": 5}
    assert build() == {
        "status": "ok",
        "timestamp": "2024-01-01T00:00:00Z",
        "queue": {
            "queued": 0, "active": 3, "maxConcurrent": 50, "completedTasks": 7, "failedTasks": 1,
            "averageTaskTime": 1234.6, "maxQueueSize": 200, "queuedByLanguage": {}, "queueUtilization": 0.0,
            "memoryBytes": 3 * 2**28, "maxMemoryBytes": 2**34,
        },
        "warnings": [],
        "workerPool": {
            "totalWorkers": 4, "activeWorkers": 1, "idleWorkers": 3, "queuedTasks": 0, "completedTasks": 9,
            "failedTasks": 2, "averageTaskTime": 20.0,
        },
        "warmPool": {"ready": 2, "starting": 1, "max": 5, "languages": {"x": language}},
    }  # fmt: skip


def test_who_waits_for_what():
    document = build(replace(QUEUE, queued=3, queued_by_language={"y": 1, "x": 2}))
    assert document["queue"]["queuedByLanguage"] == {"x": 2, "y": 1}
    assert document["queue"]["queueUtilization"] == 0.015


@pytest.mark.parametrize(
    ("queue", "workers", "words"),
    [
        (replace(QUEUE, active=50), WORKERS, "All 50 slots are taken"),
        (replace(QUEUE, active=51), WORKERS, "51 live sessions"),
        (replace(QUEUE, queued=160), WORKERS, "160 of 200 places"),
        (QUEUE, replace(WORKERS, active=4, idle=0, queued=5), "5 tasks wait"),
    ],
)
def test_what_is_short_is_told(queue, workers, words):
    document = build(queue, workers)
    assert document["status"] == "degraded"
    assert words in " ".join(document["warnings"])


def test_warnings_of_other_parts():
    document = build(warnings=["The engine does not answer."])
    assert document["status"] == "degraded"
    assert document["warnings"] == ["The engine does not answer."]


def test_a_stopping_server_says_so():
    assert build(replace(QUEUE, draining=True))["status"] == "draining"


def test_a_queue_without_places():
    assert build(replace(QUEUE, max_queue=0))["queue"]["queueUtilization"] == 0.0
