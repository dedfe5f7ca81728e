"""When the garbage collector looks through everything: it stops the event loop meanwhile.

What is made here is free when nobody refers to it any more; the collector finds what refers to itself, which
is little.  By itself it looks through all objects whenever a quarter more are there, so that a crowd calls
for it again and again, for 20 to 80 ms each time.  So only the young objects are looked at by themselves, in
small portions, and all of them when nobody needs the loop.
"""

from __future__ import annotations

import asyncio
import gc
import time

YOUNG, PORTIONS = 700, 4  # objects made before the youngest are looked at; such looks before the next older
NEVER = 2**31 - 1
ENOUGH = 4  # portions (of some 2,800 objects each that have stayed) that are worth a look at a calm moment
TOO_MANY = 400  # of them are looked at in any case: a million objects
LOOK_SECONDS = 1.0
CALM = 0.01  # of a processor that the loop has used since the last look, at most: one who types needs more


async def watch() -> None:
    """Runs as long as the server."""
    gc.set_threshold(YOUNG, PORTIONS, NEVER)
    used = time.thread_time()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        busy, used = time.thread_time() - used, time.thread_time()
        portions = gc.get_count()[2]
        if portions >= TOO_MANY or (portions >= ENOUGH and busy < CALM * LOOK_SECONDS):
            gc.collect()
