"""After a restart: what else the start does comes behind the clients that come back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from coderunner import arrival


def registry(*clients: list[str]) -> SimpleNamespace:
    sessions = {
        str(at): SimpleNamespace(channels=SimpleNamespace(attachments=one)) for at, one in enumerate(clients)
    }
    return SimpleNamespace(sessions=sessions)


async def test_it_waits_until_each_session_has_a_client(monkeypatch):
    monkeypatch.setattr(arrival, "RETURN_SECONDS", 30.0)
    first, second = [], []
    waiting = asyncio.create_task(arrival.returned(registry(first, second)))
    first.append("client")
    done, _ = await asyncio.wait({waiting}, timeout=5 * arrival.LOOK_SECONDS)
    assert not done
    second.append("client")
    await asyncio.wait_for(waiting, 10)


async def test_clients_that_never_come_back_do_not_keep_it(monkeypatch):
    monkeypatch.setattr(arrival, "RETURN_SECONDS", 0.05)
    await asyncio.wait_for(arrival.returned(registry([])), 10)


async def test_a_start_without_sessions_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(arrival, "RETURN_SECONDS", 30.0)
    await asyncio.wait_for(arrival.returned(registry()), 10)
