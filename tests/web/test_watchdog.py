"""Sessions that use kernel resources which no limit counts are ended, and no others."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import Server, running_server, session
from tests.share import some_now

LOCKS = """
import fcntl, time
file = open("locked", "w+b")
for number in range({count}): fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * number)
print("held", flush=True)
time.sleep(60)
"""
DATAGRAMS = """
import socket, time
held = []
for _ in range({count}):
    reader, writer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "rw")
    reader.bind(("127.0.0.1", 0))
    for _ in range(200): writer.sendto(bytes(1000), reader.getsockname())
    held += [reader, writer]
print("held", flush=True)
time.sleep(60)
"""
STREAMS = """
import socket, time
held = []
for _ in range({count}):
    listener = socket.create_server(("127.0.0.1", 0))
    writer = socket.create_connection(listener.getsockname())
    reader, _ = listener.accept()
    writer.setblocking(False)
    try:
        while True: writer.send(bytes(65536))
    except BlockingIOError: held += [listener, writer, reader]
print("held", flush=True)
time.sleep(60)
"""
ANSWERS = """
import socket, struct, time
held = []
for _ in range({count}):
    plug = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    for _ in range(80): plug.send(struct.pack("=IHHIIBBHiII", 32, 18, 1, 1, 0, 0, 0, 0, 1, 0, 0))
    held.append(plug)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    with running_server(folder, LANGUAGES="python", WATCHDOG_INTERVAL="200") as one:
        yield one


async def evicted(client, server: Server, words: str, seconds: float = 15) -> None:
    """Checks that the client was notified, and that program, session and log have the reason."""
    channel = await client.ended(1, seconds)
    assert channel.exit.reason == "evicted"
    assert (await client.message(m.Closed)).reason == "evicted"
    notices = [one for one in client.messages if isinstance(one, m.Notice) and one.code == "evicted"]
    assert len(notices) == 1
    assert words in notices[0].message
    assert await client.closed() == 1000
    lines = [one for one in server.log.read_text().splitlines() if "session evicted" in one]
    assert any(client.opened.session in one and words in one for one in lines)


@pytest.mark.parametrize(
    ("program", "few", "many", "words"),
    some_now(
        [
            (LOCKS, 2000, 4000, "file locks"),
            (DATAGRAMS, 10, 400, "MiB of data"),
            (STREAMS, 5, 300, "MiB of data"),
            (ANSWERS, 10, 300, "MiB of data"),
        ],
        0,
        1,
    ),
    ids=["locks", "datagrams", "streams", "answers"],
)
async def test_who_holds_too_much_is_ended_and_nobody_else(watched, program, few, many, words):
    async with session(watched) as modest, session(watched) as greedy:
        await modest.run(1, program.format(count=few))
        await modest.until(1, "held")
        await greedy.run(1, program.format(count=many))
        await evicted(greedy, watched, words)
        await modest.send(m.Kill(1))
        assert (await modest.ended(1)).exit.reason == "killed"
        assert (await modest.result(2, "print('alive')")).text == "alive\n"
