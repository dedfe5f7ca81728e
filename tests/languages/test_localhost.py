"""A program that listens on localhost is reached by that name, and a session's own name has an address."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.harness import Server, session

PROGRAMS = tomllib.loads((Path(__file__).parent / "localhost.toml").read_text("utf-8"))

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_server_on_localhost_is_reached(everything: Server, name: str) -> None:
    program = PROGRAMS[name]
    async with session(everything, name) as client:
        channel = await client.result(1, program["code"], 90, entry=program["entry"])
        assert (channel.exit.code, channel.stdout) == (0, b"ok\n"), channel.text
