"""Sessions over plain HTTP: waiting for a place, absent callers, and killed servers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Callable

import aiohttp
import pytest

from tests.harness import eventually, running_server
from tests.web.ordering import COUNT, SETTINGS, again, ask, idle, numbers
from tests.web.polling import Caller, open_session


async def through(caller: Caller, condition: Callable[[], bool]) -> None:
    """Polls for events until the condition is true, also while no server listens."""

    async def holds() -> bool:
        if condition():
            return True
        with contextlib.suppress(aiohttp.ClientError):
            reply = await caller.poll()
            assert reply.status in (200, 503), reply.document
        return condition()

    await eventually(holds, 60, "the events")


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_server_loses_and_doubles_nothing(tmp_path, how):
    with running_server(tmp_path, **SETTINGS) as server:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        body = {"language": "python"}
        opened = await ask(server, "POST", "api/sessions", json=body, headers=key)
        caller = Caller(server, opened.document["session"], opened.document["token"])
        program = COUNT.format(n=600, pause=0.005) + "print(input(), input())\n"
        files = [{"path": "main.py", "content": program}]
        await caller.act("run", channel=1, mode="pipe", files=files)
        await caller.act("run", channel=2, mode="pipe", files=[{"path": "b.py", "content": "print('b')"}],
                         entry="b.py")  # fmt: skip
        await caller.act("input", channel=1, offset=0, text="first\n")
        await caller.until(lambda: b"0000050" in caller.output.get(1, b"") and caller.of("exit"))
        server.stop(how)
        server.process = again(server, tmp_path).process
        await through(caller, lambda: caller.output[1].count(b"\n") >= 300)
        # The first line is repeated, as its caller cannot know whether it had come.
        await caller.act("input", channel=1, offset=0, text="first\nsecond\n")
        await through(caller, lambda: len(caller.of("exit")) == 2)
        assert [one["channel"] for one in caller.of("exit")] == [2, 1]
        assert caller.output == {1: (numbers(600) + "first second\n").encode(), 2: b"b\n"}
        await caller("DELETE")
        await idle(server)


@pytest.mark.long
async def test_who_waits_for_a_place_is_told_and_keeps_it(tmp_path):
    settings = {**SETTINGS, "MAX_CONCURRENT_SESSIONS": "1"}
    with running_server(tmp_path, **settings) as server:
        first = await open_session(server)
        body = {"language": "python"}
        waits = await ask(server, "POST", "api/sessions?wait=0", json=body)
        assert (waits.status, waits.document["status"], waits.document["position"]) == (202, "queued", 1)
        key = {"Idempotency-Key": waits.document["key"]}
        waits = await ask(server, "POST", "api/sessions?wait=1", json=body, headers=key)
        assert (waits.status, waits.document["position"]) == (202, 1)
        assert server.stats()["queue"]["queued"] == 1
        later = asyncio.create_task(ask(server, "POST", "api/sessions", json=body, headers=key))
        await first("DELETE")
        opened = await later
        assert opened.status == 201
        # A caller without a key that goes away gives its place up.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await ask(server, "POST", "api/sessions", json=body)
        await eventually(lambda: server.stats()["queue"]["queued"] == 0, 10, "nobody waits")
        # The place of one who was told of it, and has not come back, is given up, too.
        await ask(server, "POST", "api/sessions?wait=0", json=body)
        assert server.stats()["queue"]["queued"] == 1
        await eventually(lambda: server.stats()["queue"]["queued"] == 0, 20, "nobody waits")
        await Caller(server, opened.document["session"], opened.document["token"])("DELETE")
        await idle(server)


@pytest.mark.long
async def test_a_session_that_nobody_asks_for_ends_as_one_without_a_client(tmp_path):
    settings = {**SETTINGS, "SESSION_RESUME_MIN": "2000", "SESSION_RESUME_MAX": "2000"}
    with running_server(tmp_path, **settings) as server:
        caller = await open_session(server)
        files = [{"path": "main.py", "content": "import time\ntime.sleep(1000)"}]
        await caller.act("run", channel=1, mode="pipe", files=files)
        for _ in range(4):  # for longer than both times together
            await caller.poll(wait=1)
        assert server.stats()["queue"]["active"] == 1
        await idle(server)
        assert (await caller.poll()).status == 404
