"""Containers whose instance's key is lost: no server can adopt them, and none of another key may remove them.

Only a person can say that a key is lost.  What a living server has is spared all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from coderunner import timing
from coderunner.engine.containers import OWNER_LABEL
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CannotStart, CodeRunnerError
from coderunner.fleet.sweep import container_of, in_use, labels_of, remove_one
from coderunner.sessions.link import SILENCE_SECONDS
from coderunner.sessions.record import BadSeal, owner_of, record_in
from coderunner.wire import flow

LISTEN_SECONDS = SILENCE_SECONDS + flow.BEAT_SECONDS  # longer than a server takes to mend a broken link
ASK_SECONDS = 15.0


async def remove_lost(
    engine: DockerEngine, instance: str, key: bytes | None, alive: Collection[str] = ()
) -> int:
    """Removes the containers of this name that this key did not make; how many.  Takes some seconds.

    `key`: the instance's, None where it has none.  `alive`: the owners whose servers are known to live; of
    others the agents are listened to.  Raises EngineError, and CannotStart where a server that lives has some
    of them: then none is touched.
    """
    owner = owner_of(key) if key is not None else None
    listed = await engine.list(labels_of(instance))
    found = [summary for summary in listed if summary.labels.get(OWNER_LABEL, "") != owner]
    used = [summary.name for summary in found if _of_one_alive(summary, alive)]
    if not used:
        heard = await asyncio.gather(*(in_use(engine, summary, LISTEN_SECONDS) for summary in found))
        used = [summary.name for summary, beats in zip(found, heard, strict=True) if beats]
    if used:
        raise CannotStart(
            f"a server that runs has {len(used)} of the containers of INSTANCE_NAME {instance!r}"
            f" ({used[0]}, …): their key is not lost. Nothing was touched;"
            " stop that server, or give this one another name"
        )
    ours = await asyncio.gather(*(_sealed_with(engine, summary, key) for summary in found))
    lost = [summary for summary, own in zip(found, ours, strict=True) if not own]
    return sum([await remove_one(engine, summary, "its key is lost") for summary in lost])


def _of_one_alive(summary: ContainerSummary, alive: Collection[str]) -> bool:
    """A container of a release that gave no fingerprint may be any one's."""
    owner = summary.labels.get(OWNER_LABEL)
    return owner in alive if owner is not None else bool(alive)


async def _sealed_with(engine: DockerEngine, summary: ContainerSummary, key: bytes | None) -> bool:
    """Whether a container without a fingerprint, of a release that gave none, is this key's."""
    if key is None or OWNER_LABEL in summary.labels or not summary.running or summary.paused:
        return False
    container = container_of(engine, summary)
    try:
        async with timing.within(ASK_SECONDS):
            await container.connect(start=False)
        record_in(container.link.hello, key, container.id)
    except (LookupError, BadSeal, ValueError, CodeRunnerError, TimeoutError):
        return False  # it cannot be adopted
    finally:
        await container.close()
    return True
