"""Output that imitates something else: frames of the agent, messages of the server, answers of a terminal."""

from __future__ import annotations

from coderunner.attack.case import Group, same
from coderunner.attack.programs import aftermath
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer
from coderunner.core import codec
from coderunner.schema import messages as m
from coderunner.wire import frames

GROUP = Group("imitations")


async def _verbatim(stage: Stage, data: bytes, *, mode: str = "pipe", cut: bool = False) -> str:
    """Runs a program that writes exactly these bytes, from a file. Returns whether they arrive unchanged.
    `cut`: with four reattachments meanwhile."""
    code = (
        "import os\n"
        + ("import tty; tty.setraw(0)\n" if mode == "tty" else "")
        + "d = open('data', 'rb').read()\nwhile d: d = d[os.write(1, d[:4000]):]"
    )
    async with stage.session() as peer:
        await peer.run(1, code, mode=mode, beside=(m.File("data", data),))
        if cut:
            return await _cut(stage, peer, data)
        stream = await peer.ended(1)
        return same(stream.data, data) + await aftermath(peer)


async def _cut(stage: Stage, peer: Peer, data: bytes) -> str:
    """Drops the connection without a close frame and attaches again, four times during the output."""
    assert peer.opened
    stream = peer.channel(1)
    await peer.wait(lambda: stream.end, 10, "output")
    peer.drop()
    await peer.closed()
    for goal in (len(data) // 5, len(data) // 2, len(data) * 4 // 5):
        async with stage.attach(peer.opened, client=peer.client, go_on=peer) as other:
            await other.wait(lambda goal=goal: stream.end >= goal, 20, "output")  # type: ignore[misc]
            other.drop()
            await other.closed()
    async with stage.attach(peer.opened, client=peer.client, go_on=peer) as other:
        await other.ended(1)
        return same(stream.data, data) + await aftermath(other)


def _imitations() -> bytes:
    """Frames of the agent, of every kind and generation, with the checksum's seeds that are easiest to
    guess."""
    parts = [frames.MAGIC * 50]
    for seed in (0, 1):
        for generation in (0, 1, 2):
            for kind in range(1, 24):
                parts.append(
                    frames.encode(
                        kind, generation, b'{"channel":1,"phase":"exited"}', channel=1, offset=7, seed=seed
                    )
                )
    parts.append(
        frames.encode_message(frames.REPLY, 1, {"id": 1, "error": {"code": "internal", "message": "x"}})
    )
    return b"".join(parts) * 20


@GROUP.case(
    "imitates-agent-frames",
    "the server, by output that looks like the agent's frames",
    "every byte as it was",
)
async def _agent(stage: Stage) -> str:
    return await _verbatim(stage, _imitations())


@GROUP.case(
    "imitates-agent-frames-around-reattaches", "the same, while the client leaves and comes back",
    "every byte as it was",
)  # fmt: skip
async def _agent_cut(stage: Stage) -> str:
    return await _verbatim(stage, _imitations(), cut=True)


@GROUP.case(
    "imitates-control-messages",
    "the client, by output that looks like the server's messages",
    "every byte as it was",
)
async def _control(stage: Stage) -> str:
    end = m.Exit(
        1, code=0, signal=None, reason="exited", limits_hit=(), left_behind=0,
        usage=m.Usage(1, 1, 1, 1), offset=3,
    )  # fmt: skip
    texts = [codec.encode_server(one) for one in (end, m.Closed("client"), m.Gap(1, 0, 9, None))]
    data = "".join(texts).encode() + codec.encode_output(1, 1, 0, b"x") + codec.encode_input(1, 0, b"x")
    return await _verbatim(stage, data * 200)


@GROUP.case(
    "terminal-sequences", "terminals, by clipboard, title and query sequences: bytes that pass as they are",
    "every byte as it was",
)  # fmt: skip
async def _sequences(stage: Stage) -> str:
    data = (
        b"\x1b]52;c;cm0gLXJmIH4K\x07\x1b]0;title\x07\x1b[21t\x1b[6n\x1b[c\x1b[>c\x1bP$qm\x1b\\\x1b]10;?\x07"
        b"\x1b[?1049h\x1b[?1000h\x1b[?2004h\x1b[5n\x1b]8;;http://evil.example\x07x\x1b]8;;\x07\x1bc\x05\x1bZ"
    )
    return await _verbatim(stage, data * 50, mode="tty")


@GROUP.case(
    "every-byte", "the path of output, by all byte values, also on a terminal", "every byte as it was x 2"
)
async def _every(stage: Stage) -> str:
    data = bytes(range(256)) * 64 + b"\xff\xfe\xf0\x9f" * 64
    seen = [await _verbatim(stage, data, mode=mode) for mode in ("pipe", "tty")]
    return f"{seen[0]} x 2" if seen[0] == seen[1] else " / ".join(seen)
