"""Programs of one session share a user, so one may write to another's files; reported results stay true."""

from __future__ import annotations

import pytest

from coderunner.schema import messages as m
from tests.harness import session

PLACES = {
    "tty": "os.ttyname(0)",
    "pipe": "'/proc/%d/fd/1' % os.getpid()",
}
VICTIM = (
    "import os,time\nprint({place}, flush=True)\nwhile not os.path.exists('go'): time.sleep(.01)\n"
    "print('the end')"
)
FLOOD = (
    "import os\nfd = os.open({path!r}, os.O_WRONLY | os.O_NOCTTY)\nos.write(fd, b'x' * 999)\n"
    "os.fork(); os.fork()\nopen('go', 'w').close()\nwhile True: os.write(fd, b'x' * 65536)"
)


@pytest.mark.parametrize("mode", PLACES)
async def test_an_end_is_told_whoever_floods_its_output(server, mode):
    async with session(server) as client:
        await client.run(1, VICTIM.format(place=PLACES[mode]), mode=mode)
        await client.wait(lambda: client.channel(1).text.endswith("\n"))
        path = client.channel(1).text.strip()
        await client.run(2, FLOOD.format(path=path), entry="flood.py")
        channel = await client.ended(1, 20)
        assert (channel.exit.reason, channel.exit.code) == ("exited", 0)
        assert "the end" in channel.text
        await client.send(m.Kill(2))
        await client.ended(2)
