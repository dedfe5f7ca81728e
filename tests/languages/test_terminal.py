"""Programs that ask in a terminal get what is typed, whether it is typed when they ask or before."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ASKS = b"""
for (word in c("first", "second")) {
  n <- readline(paste0(word, "? "))
  cat("<", n, ">\\n", sep = "")
}
"""


@pytest.mark.parametrize("ahead", [False, True])
async def test_r_asks(everything: Server, ahead: bool) -> None:
    async with session(everything, "r") as client:
        await client.send(m.Run(1, "tty", (m.File("main.R", ASKS),), "main.R"))
        for word, answer in (("first", "Ada"), ("second", "Grace")):
            if not ahead:
                await client.until(1, f"{word}? ", 60)
            await client.input(1, f"{answer}\r".encode())
        channel = await client.ended(1, 60)
        assert channel.exit.code == 0, channel.text
        assert "<Ada>" in channel.text
        assert "<Grace>" in channel.text
