"""The expiry of sessions: warned before, files offered for download, container removed."""

from __future__ import annotations

import urllib.error

import pytest

from coderunner.schema import messages as m
from tests.harness import eventually, running_server, session, workspace


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """A server whose sessions live a few seconds."""
    with running_server(
        tmp_path_factory.mktemp("hurried"),
        LANGUAGES="python",
        WARM_MAX="1",
        SESSION_RESUME_MIN="1000",
        SESSION_RESUME_MAX="1500",
        SESSION_IDLE_TIMEOUT="12000",
        SESSION_TTL="13000",
    ) as one:
        yield one


class TestEnds:
    async def test_an_idle_session_is_warned_and_ended(self, hurried):
        async with session(hurried, keep=True, limits={"idle_ms": 10_000}) as client:
            await client.result(1, "print('done')")
            warning = await client.message(m.Notice)
            assert warning.code in ("idle_warning", "lifetime_warning")
            await client.message(m.Expires)
            assert await client.closed(20) == 1000
            assert client.messages[-1] == m.Closed("idle_timeout")

    async def test_extending_moves_the_idle_end_and_a_lifetime_ends_a_busy_session(self, hurried):
        async with session(hurried, keep=True, limits={"lifetime_ms": 11_000}) as client:
            await client.run(1, "print('up', flush=True)\nimport time\ntime.sleep(100)")
            await client.until(1, "up")
            await client.message(m.Notice)
            await client.send(m.Extend())
            assert (await client.message(m.Expires)).total_ms <= 11_000
            assert await client.closed(20) == 1000
            assert client.channel(1).exit.reason == "session_closed"
            assert [x.reason for x in client.messages if isinstance(x, m.Closed)] == ["lifetime"]

    async def test_what_nobody_reclaims_is_reaped(self, hurried):
        async with session(hurried, keep=True) as client:
            await client.run(1, "import time\ntime.sleep(100)")
            await client.wait(lambda: client.channel(1).states)
            client.drop()
            await client.closed()
        await eventually(lambda: hurried.stats()["queue"]["active"] == 0, 10, "the slot given back")
        assert "reason=resume_timeout" in hurried.log.read_text()


class TestArchive:
    async def test_the_files_of_a_session_come_as_a_zip(self, server):
        code = (
            "import os\nos.makedirs('a/b')\nopen('a/b/deep.txt','w').write('deep')\n"
            "open('big.bin','wb').write(bytes(range(256))*1000)\nopen('empty','w').close()\n"
            "os.symlink('/etc/passwd','link')\nos.symlink('/etc','folder')\nos.mkfifo('pipe')\n"
            "os.utime('empty', (0, 0))\nopen(b'bad\\xffname','w').close()\nopen('ctrl\\nname','w').close()"
        )
        async with session(server) as client:
            await client.result(1, code)
            files = workspace(server, client.opened.session, client.opened.token)
            assert sorted(files) == ["a/b/deep.txt", "big.bin", "empty", "main.py"]
            assert files["a/b/deep.txt"] == b"deep"
            assert files["big.bin"] == bytes(range(256)) * 1000

    async def test_a_wrong_token_learns_nothing(self, server):
        async with session(server) as client:
            for name, token in ((client.opened.session, "x" * 32), ("test-0", client.opened.token)):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    workspace(server, name, token)
                assert caught.value.code == 404


@pytest.mark.long
async def test_a_shell_at_its_prompt_is_idle_and_one_that_works_is_not(tmp_path):
    with running_server(tmp_path, LANGUAGES="python", WARM_MAX="1", SESSION_IDLE_TIMEOUT="10000") as server:
        async with session(server, keep=True) as client:
            await client.send(m.Shell(1, 80, 24))
            await client.input(1, b"sleep 12; echo awake-$((1 + 1))\n")
            await client.until(1, "awake-2")  # longer than a session may be idle
            assert await client.closed(25) == 1000
            assert client.messages[-1] == m.Closed("idle_timeout")
