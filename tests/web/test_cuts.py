"""Hundreds of lost connections at any byte, in both directions, delayed and split: every byte arrives
once."""

from __future__ import annotations

import random

import pytest

from tests.proxy import Proxy
from tests.soak.visitor import Balance, Visitor

LINES = 20_000


@pytest.fixture
def cutting(server):
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    with Proxy(port, seed=11) as proxy:
        proxy.cut_after = (1, 6000)
        proxy.split = 701
        yield proxy


async def arrive(server, balance: Balance, seed: int, proxy: Proxy) -> Visitor:
    """A visitor whose session was opened without the proxy, and then uses it."""
    visitor = Visitor(server.url, balance, random.Random(seed))
    assert await visitor.open()
    visitor.url = f"http://127.0.0.1:{proxy.listen}/"
    return visitor


@pytest.mark.timeout(150)
@pytest.mark.parametrize("mode", ["pipe", "tty"])
async def test_output_at_random_cuts(server, cutting, mode):
    balance = Balance()
    visitor = await arrive(server, balance, 3, cutting)
    channel = await visitor.run(1, f"for i in range({LINES}): print('%07d' % i)\n", mode=mode)
    end = b"\r\n" if mode == "tty" else b"\n"
    assert bytes(channel.data) == b"".join(b"%07d" % i + end for i in range(LINES))
    assert channel.gaps == []
    assert cutting.cuts > 100
    visitor.url = server.url
    await visitor.close()
    assert balance.faults == []


@pytest.mark.timeout(150)
async def test_input_at_random_cuts(server, cutting):
    balance = Balance()
    visitor = await arrive(server, balance, 4, cutting)
    await visitor.type(1)
    visitor.url = server.url
    await visitor.close()
    assert balance.faults == []
    assert balance.typed > 10_000
    assert cutting.cuts > 10
