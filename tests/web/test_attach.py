"""Detaching and attaching again: the loss of a socket only detaches, and output continues at the next
byte."""

from __future__ import annotations

import contextlib
import hashlib
import random

from coderunner.schema import messages as m
from tests.harness import attach, connect, eventually, random_id, session

COUNT = "import sys,time\nfor i in range({n}):\n    print('%07d' % i)\n    {pause}\n"


def numbers(count: int) -> bytes:
    return b"".join(b"%07d\n" % i for i in range(count))


class TestResume:
    async def test_output_made_while_away_is_there(self, server):
        async with session(server, keep=True) as client:
            await client.run(1, COUNT.format(n=2000, pause="time.sleep(.0002)"))
            await client.wait(lambda: client.channel(1).end > 1000)
            client.drop()
            await client.closed()
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            channel = await back.ended(1)
            assert bytes(channel.data) == numbers(2000)
            assert channel.exit.reason == "exited"
            await back.send(m.Close())
            assert await back.closed() == 1000

    async def test_cut_again_and_again_nothing_is_lost_or_doubled(self, server):
        chance = random.Random(5)
        async with session(server, keep=True) as client:
            await client.run(1, COUNT.format(n=200_000, pause="pass"))
            await client.wait(lambda: client.channel(1).end)
            client.drop()
            await client.closed()
        channels, opened = client.channels, client.opened
        cuts = 0
        while channels[1].exit is None:
            async with attach(server, opened, client=client.client, channels=channels) as back:
                goal = channels[1].end + chance.randrange(1, 60_000)
                await back.wait(lambda goal=goal: channels[1].end >= goal or channels[1].exit, 20)
                back.drop()
                await back.closed()
                cuts += 1
        assert cuts > 5
        assert bytes(channels[1].data) == numbers(200_000)
        async with attach(server, opened) as last:
            await last.send(m.Close())
            await last.closed()

    async def test_input_is_taken_once(self, server):
        code = (
            "import sys, hashlib\nprint('ready', flush=True)\n"
            "d=sys.stdin.buffer.read()\nprint(len(d), hashlib.md5(d).hexdigest())"
        )
        data = random.Random(3).randbytes(300_000)
        async with session(server, keep=True) as client:
            await client.run(1, code)
            await client.until(1, "ready")
            await client.input(1, data[:50_000])
            client.drop()
            await client.closed()
        channels = client.channels
        chance = random.Random(4)
        while channels[1].in_ack < len(data):
            async with attach(server, client.opened, client=client.client, channels=channels) as back:
                await back.message(m.Attached)
                # From the last acknowledged byte: what came through before is trimmed.
                channels[1].sent = channels[1].in_ack
                goal = min(len(data), channels[1].in_ack + chance.randrange(1, 90_000))
                await back.input(1, data[channels[1].sent : goal])
                await back.wait(lambda goal=goal: channels[1].in_ack >= goal - 40_000, 20)
                back.drop()
                await back.closed()
        async with attach(server, client.opened, client=client.client, channels=channels) as back:
            await back.send(m.Eof(1, len(data)))
            await back.until(1, f"{len(data)} {hashlib.md5(data).hexdigest()}")
            await back.ended(1)
            await back.send(m.Close())
            await back.closed()

    async def test_a_pipe_waits_for_its_client_and_a_terminal_runs_on(self, server):
        async with session(server, keep=True) as client:
            client.acks = False
            await client.run(1, COUNT.format(n=200_000, pause="pass"), mode="pipe")
            await client.run(2, COUNT.format(n=200_000, pause="pass") + "open('done','w')", mode="tty")
            await client.wait(lambda: client.channel(1).end and client.channel(2).end)
            client.drop()
            await client.closed()
        async with attach(server, client.opened, role="watch") as look:
            await look.ended(2, 30)
        for channel in client.channels.values():
            del channel.data[channel.end :]
        async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
            pipe, tty = await back.ended(1, 40), await back.ended(2, 40)
            assert bytes(pipe.data) == numbers(200_000)
            assert pipe.gaps == []
            (gap,) = tty.gaps
            whole = numbers(200_000).replace(b"\n", b"\r\n")
            assert gap.to == len(whole) - (1 << 20)
            assert bytes(tty.data[gap.from_ :]) == whole[gap.to :]
            await back.send(m.Close())
            await back.closed()

    async def test_a_new_page_sees_it_all_from_the_start(self, server):
        async with session(server, keep=True) as client:
            await client.run(1, "print('before')\nprint('you said', input())", mode="tty")
            await client.until(1, "before")
            client.drop()
            await client.closed()
        async with attach(server, client.opened) as page:
            attached = await page.message(m.Attached)
            (view,) = attached.channels
            assert (view.channel, view.phase, view.mode, view.input_offset) == (1, "running", "tty", 0)
            await page.until(1, "before")
            await page.input(1, b"hi\n")
            await page.until(1, "you said hi")
            await page.ended(1)
            await page.send(m.Close())
            await page.closed()

    async def test_the_exit_is_told_to_who_missed_it(self, server):
        async with session(server, keep=True) as client:
            client.acks = False
            await client.run(1, "import sys; sys.exit(9)")
            await client.wait(lambda: client.channel(1).exit)
            client.drop()
            await client.closed()
        async with attach(server, client.opened, client=client.client) as back:
            assert (await back.ended(1)).exit.code == 9
            await back.send(m.Close())
            await back.closed()


class TestRoles:
    async def test_a_watcher_sees_and_may_not_type(self, server):
        async with session(server) as client:
            await client.run(1, "print('shown')\ninput()", mode="tty")
            async with attach(server, client.opened, role="watch") as watcher:
                await watcher.until(1, "shown")
                await watcher.input(1, b"x\n", offset=0)
                await watcher.error("not_control")
                await watcher.send(m.Kill(1))
                await watcher.error("not_control")
                await client.input(1, b"\n")
                await watcher.ended(1)

    async def test_control_can_be_taken(self, server):
        async with session(server) as client:
            await client.run(1, "print(input())", mode="tty")
            await client.input(1, b"one ")
            await client.wait(lambda: client.channel(1).in_ack == 4)
            async with attach(server, client.opened, role="watch") as other:
                await other.message(m.Attached)
                await other.send(m.Take())
                assert (await other.message(m.Role)).input_offsets == {1: 4}
                assert (await client.message(m.Role)).role == "watch"
                await other.input(1, b"two\n", offset=4)
                await client.until(1, "one two")
                await client.send(m.Take())
                await client.message(m.Role)

    async def test_a_watcher_that_stalls_slows_nobody(self, server):
        async with session(server) as client, attach(server, client.opened, role="watch") as watcher:
            watcher.acks = False
            await client.run(1, COUNT.format(n=300_000, pause="pass"))
            channel = await client.ended(1)
            assert bytes(channel.data) == numbers(300_000)
            assert watcher.channel(1).end <= 256 * 1024
            watcher.acks = True
            await watcher.send(m.Ack(1, watcher.channel(1).end))
            seen = await watcher.ended(1)
            (gap,) = seen.gaps
            assert bytes(seen.data[gap.from_ :]) == numbers(300_000)[gap.to :]

    async def test_the_same_client_replaces_its_old_socket(self, server):
        async with session(server, keep=True) as client:
            async with attach(server, client.opened, client=client.client) as again:
                await client.error("superseded")
                assert await client.closed() == 4409
                await again.send(m.Close())
                await again.closed()

    async def test_every_wrong_door_answers_alike(self, server):
        async with session(server) as client:
            opened = client.opened
            answers = [
                await knock(server, opened.session, "x" * 32),
                await knock(server, "test-0000000000000000", opened.token),
            ]
            await client.send(m.Close())
            await client.closed()
        answers.append(await knock(server, opened.session, opened.token))
        assert answers[0] == answers[1] == answers[2]


async def knock(server, name: str, token: str) -> m.ErrorMessage:
    async with connect(server.url, f"ws/{name}") as stranger:
        await stranger.send(m.Attach(name, token, random_id()))
        error = await stranger.error("no_session")
        assert await stranger.closed() == 4404
        return error


class TestEnds:
    async def test_close_ends_programs_truthfully_and_gives_the_slot_back(self, server):
        async with session(server) as client:
            await client.run(1, "print('up', flush=True)\nimport time; time.sleep(60)")
            await client.until(1, "up")
            assert server.stats()["queue"]["active"] >= 1
            before = server.stats()["queue"]["active"]
            await client.send(m.Close())
            assert await client.closed() == 1000
            assert client.channel(1).exit.reason == "session_closed"
            assert [one.reason for one in client.messages if isinstance(one, m.Closed)] == ["client"]
        # Sessions of other tests may be given up meanwhile.
        await eventually(lambda: server.stats()["queue"]["active"] < before, 10, "the slot given back")


class TestCrowd:
    async def test_a_session_takes_so_many_watchers_and_its_owner_always(self, server):
        async with session(server) as client, contextlib.AsyncExitStack() as stack:
            await client.run(1, "print(input())", mode="tty")
            crowd = [
                await stack.enter_async_context(attach(server, client.opened, role="watch"))
                for _ in range(127)
            ]
            for one in crowd:
                await one.message(m.Attached)
            async with attach(server, client.opened, role="watch") as late:
                await late.error("too_many_attachments")
                assert await late.closed() == 4429
            async with attach(server, client.opened) as owner:
                await owner.message(m.Attached)
                assert await crowd[0].closed() == 4429
                await owner.input(1, b"still mine\n")
                await crowd[1].until(1, "still mine\r\nstill mine")
                assert (await client.message(m.Role)).role == "watch"
            await client.send(m.Take())
            assert (await client.message(m.Role)).role == "control"
