"""A terminal whose program printed more than the journal while no client was attached: a gap names what is
lost."""

from __future__ import annotations

from coderunner.schema import messages as m
from tests.harness import attach, docker, eventually, session

LINES = 400_000
CODE = f"input()\nfor i in range({LINES}): print('%07d' % i)\nopen('done', 'w').close()"


async def test_a_terminal_that_overran_its_journal_goes_on_behind_the_gap(server):
    async with session(server, keep=True) as client:
        await client.run(1, CODE, mode="tty")
        await client.wait(lambda: client.channel(1).states)
        client.acks = False
        await client.input(1, b"\n")
        client.drop()
        await client.closed()
    first = client.channels[1].end
    name = f"coderunner-{client.opened.session}"
    await eventually(lambda: "main.py" not in docker("top", name), 60, "the end of the program")
    async with attach(server, client.opened, client=client.client, channels=client.channels) as back:
        channel = await back.ended(1, 30)
        whole = b"\r\n" + b"".join(b"%07d\r\n" % i for i in range(LINES))
        assert channel.exit.offset == len(whole)
        for gap in channel.gaps:
            assert first <= gap.from_ < gap.to <= len(whole) - (1 << 20)
        assert channel.end == len(whole)
        await back.send(m.Close())
        await back.closed()


async def test_a_client_that_comes_later_is_told_what_it_will_not_get(server):
    async with session(server) as client:
        await client.run(1, CODE.replace("open(", "print('!'); input(); open("))
        await client.input(1, b"\n")
        await client.until(1, "!")
        async with attach(server, client.opened, role="watch") as late:
            await late.until(1, "!")
            channel = late.channel(1)
            # Before all output, and what follows is the rest of it to the byte.
            assert [gap.from_ for gap in channel.gaps] == [0]
            assert channel.data == client.channel(1).data[channel.gaps[0].to :]
        # The server knows where the journal begins now, says so to the next, and sends the gap as well.
        async with attach(server, client.opened, role="watch") as later:
            assert (await later.message(m.Attached)).channels[0].from_ == channel.gaps[0].to
            await later.until(1, "!")
            assert later.channel(1).gaps == channel.gaps
        await client.input(1, b"\n")
        await client.ended(1)
