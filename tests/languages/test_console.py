"""C#: Mono's console asks the terminal for the cursor at each line; what is typed meanwhile is not lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.harness import Server, running_server, session

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

QUESTION, ANSWER = b"\x1b[6n", b"\x1b[5;3R"
AWAY = 0.3  # seconds to the terminal and back: more than Mono itself would wait where somebody types
LINES = """
using System; using System.Threading;
class P { static void Main() {
  Console.WriteLine("ready"); Thread.Sleep(1500);
  for (int i = 0; i < 3; i++) {
    Console.Write("? "); AHEAD
    Console.WriteLine("got <" + Console.ReadLine() + ">"); Thread.Sleep(300);
  }
} }
"""


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mono")
    with running_server(folder, ready=("csharp",), LANGUAGES="csharp", WARM_MAX="2") as server:
        yield server


async def answers(client, between: bytes) -> None:
    """A terminal far away, and somebody who types between a question and its answer."""
    answered = 0
    while True:
        asked = bytes(client.channel(1).data).count(QUESTION)
        while answered < asked:
            answered += 1
            if between and answered <= len(between):
                await asyncio.sleep(0.05)
                await client.input(1, between[answered - 1 : answered])
            await asyncio.sleep(AWAY)
            await client.input(1, ANSWER)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("ahead", ["", "int left = Console.CursorLeft;"], ids=["plain", "with the place"])
@pytest.mark.parametrize("text", ["one\ntwo\nthree\n", "élan\nzwei €\nдрай🙂\n"])
async def test_what_is_typed_before_the_program_asks_is_read(mono: Server, ahead: str, text: str) -> None:
    async with session(mono, "csharp") as client:
        await client.run(1, LINES.replace("AHEAD", ahead), mode="tty", entry="Main.cs")
        await client.until(1, "ready", 60)
        terminal = asyncio.create_task(answers(client, b""))
        await client.input(1, text.encode())
        channel = await client.ended(1, 60)
        terminal.cancel()
        found = re.findall(r"got <(.*?)>", bytes(channel.data).decode())
        assert found == text.splitlines()


async def test_what_is_typed_between_its_question_and_the_answer_is_read(mono: Server) -> None:
    async with session(mono, "csharp") as client:
        await client.run(1, LINES.replace("AHEAD", ""), mode="tty", entry="Main.cs")
        await client.until(1, "ready", 60)
        terminal = asyncio.create_task(answers(client, b"abcd"))
        for number in range(1, 4):
            await client.wait(lambda n=number: client.channel(1).text.count("\x1b[6n") > n, 30, "question")
            await asyncio.sleep(1.0)  # the answer is there
            await client.input(1, b"!\n")
        channel = await client.ended(1, 60)
        terminal.cancel()
        found = re.findall(r"got <(.*?)>", bytes(channel.data).decode())
        assert found == ["ab!", "c!", "d!"]  # it asks once before the first line, too
