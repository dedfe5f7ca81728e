"""Schedules full garbage collections, which block the event loop.

Most objects are freed by reference counting; the collector finds reference cycles, of which there are few. By
default it examines all objects whenever their number has grown by a quarter, so that many connections trigger
it repeatedly, for 20 to 80 ms each time. So only the young generations are collected automatically, in small
portions, and all objects when the loop is idle.
"""

from __future__ import annotations

import asyncio
import gc
import time

YOUNG, PORTIONS = 700, 4  # thresholds of the two young generations (`gc.set_threshold`)
NEVER = 2**31 - 1
ENOUGH = 4  # portions (of about 2,800 surviving objects each) for a full collection while the loop is idle
TOO_MANY = 400  # portions for a full collection in any case: a million objects
LOOK_SECONDS = 1.0
CALM = 0.01  # share of a processor below which the loop counts as idle: one user who types needs more


async def watch() -> None:
    """Sets the thresholds and does full collections, until it is cancelled."""
    # CPython's defaults are 700, 10, 10; NEVER keeps the oldest generation from being collected by itself.
    gc.set_threshold(YOUNG, PORTIONS, NEVER)
    used = time.thread_time()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        # Of this thread alone: other threads do not keep users waiting for the loop.
        busy, used = time.thread_time() - used, time.thread_time()
        portions = gc.get_count()[2]
        if portions >= TOO_MANY or (portions >= ENOUGH and busy < CALM * LOOK_SECONDS):
            gc.collect()
