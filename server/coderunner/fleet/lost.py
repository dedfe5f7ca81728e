"""Removes containers whose instance's key is lost.

No server can adopt them, and a server with another key must not remove them.  Only a person can know that a
key is lost.  Containers of a server that runs are never removed, whatever the person says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from types import MappingProxyType

from coderunner import timing
from coderunner.engine.containers import OWNER_LABEL
from coderunner.engine.docker import DockerEngine
from coderunner.engine.states import ContainerSummary
from coderunner.errors import CannotStart, CodeRunnerError
from coderunner.fleet.sweep import container_of, in_use, labels_of, remove_one
from coderunner.sessions.link import SILENCE_SECONDS
from coderunner.sessions.record import BadSeal, owner_of, record_in
from coderunner.wire import flow

LISTEN_SECONDS = SILENCE_SECONDS + flow.BEAT_SECONDS  # longer than a server needs to mend a broken link
ASK_SECONDS = 15.0  # in which an agent must have shown its record


async def remove_lost(
    engine: DockerEngine,
    instance: str,
    key: bytes | None,
    alive: Collection[str] = (),
    strangers: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Removes the containers of this instance that were not made with `key`; returns how many.

    `key`: the instance's, None when it has none.  `alive`: fingerprints of the keys of servers that are known
    to run.  `strangers`: fingerprints that somebody shows who may be a server or not, with words about him.
    For servers that do not show themselves it listens LISTEN_SECONDS to each agent.  Raises EngineError, and
    CannotStart when a server that runs has, or may have, one of the containers: then none is removed.
    """
    owner = owner_of(key) if key is not None else None
    listed = await engine.list(labels_of(instance))
    found = [summary for summary in listed if summary.labels.get(OWNER_LABEL, "") != owner]
    # The known servers first, as that costs nothing; listening takes seconds.
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
    # A server that stands still is not heard, and who is no server does not say so: a person has to look.
    for summary in found:
        if _of_one_alive(summary, strangers):
            owner = summary.labels.get(OWNER_LABEL)
            who = strangers[owner] if owner is not None else next(iter(strangers.values()))
            raise CannotStart(
                f"{who} holds the name by which the server of {summary.name} would be recognised, and nothing"
                " was heard of that server. If it is a CodeRunner server, its key is not lost. If not, end it"
                f" and repeat this command; `ss -xap | grep coderunner/{instance}/` shows it to root. Nothing"
                " was touched"
            )
    ours = await asyncio.gather(*(_sealed_with(engine, summary, key) for summary in found))
    lost = [summary for summary, own in zip(found, ours, strict=True) if not own]
    # One after the other, as each removal is a load for the engine.
    return sum([await remove_one(engine, summary, "its key is lost") for summary in lost])


def _of_one_alive(summary: ContainerSummary, alive: Collection[str]) -> bool:
    """Whether a running server may have this container.

    One without a fingerprint may belong to any of them."""
    # A container of an older release has no owner: any server that runs may have made it.
    owner = summary.labels.get(OWNER_LABEL)
    return owner in alive if owner is not None else bool(alive)


async def _sealed_with(engine: DockerEngine, summary: ContainerSummary, key: bytes | None) -> bool:
    """Whether a container without a fingerprint, made by an older release, has a record sealed with `key`."""
    # A paused or stopped container cannot show a record.
    if key is None or OWNER_LABEL in summary.labels or not summary.running or summary.paused:
        return False
    container = container_of(engine, summary)
    try:
        async with timing.within(ASK_SECONDS):
            await container.connect(start=False)
        record_in(container.link.hello, key, container.id)
    except (LookupError, BadSeal, ValueError, CodeRunnerError, TimeoutError):
        return False  # not ours, or it cannot be adopted in any case
    finally:
        await container.close()
    return True
