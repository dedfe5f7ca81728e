"""Attacks on sessions: access to another's, and more than one's own share."""

from __future__ import annotations

import asyncio
from collections import Counter

from coderunner.attack.case import Group
from coderunner.attack.stage import Stage
from coderunner.client.peer import Peer, random_id
from coderunner.schema import messages as m

GROUP = Group("sessions")
_REFUSED = "no_session, closed with 4404"


async def _attach(stage: Stage, session: str, token: str) -> str:
    """Attaches to a session. Returns the code of the refusal and the close code, as a text."""
    async with stage.connect(f"ws/{session}") as peer:
        await peer.send(m.Attach(session, token, random_id()))
        return f"{await peer.error_code()}, closed with {await peer.closed()}"


@GROUP.case("session-guessed", "a session, by a guessed id", _REFUSED)
async def _guessed(stage: Stage) -> str:
    return await _attach(stage, "coderunner-0123456789abcdef", "x" * 43)


@GROUP.case("token-guessed", "a session, by its id and a guessed token", _REFUSED)
async def _token(stage: Stage) -> str:
    async with stage.session() as peer:
        assert peer.opened
        # A token that differs in its last character only.
        near = peer.opened.token[:-1] + ("A" if peer.opened.token[-1] != "A" else "B")
        seen = {await _attach(stage, peer.opened.session, token) for token in ("x" * 43, "x", near)}
        return " / ".join(sorted(seen))


@GROUP.case("token-of-another", "a session, by the token of another", _REFUSED)
async def _another(stage: Stage) -> str:
    async with stage.session() as one, stage.session() as two:
        assert one.opened
        assert two.opened
        return await _attach(stage, one.opened.session, two.opened.token)


@GROUP.case("session-ended", "a session that has ended, by its own token", _REFUSED)
async def _ended(stage: Stage) -> str:
    async with stage.session() as peer:
        await peer.send(m.Close())
        await peer.closed()
        assert peer.opened
        return await _attach(stage, peer.opened.session, peer.opened.token)


@GROUP.case("doors-alike", "the answers to wrong ids and tokens, which must all be the same", "alike")
async def _alike(stage: Stage) -> str:
    words = set()
    async with stage.session() as peer, stage.session() as gone:
        assert peer.opened
        assert gone.opened
        await gone.send(m.Close())
        await gone.closed()
        attempts = (
            (peer.opened.session, "x" * 43),
            (gone.opened.session, gone.opened.token),
            ("nobody-0000000000000000", peer.opened.token),
        )
        for session, token in attempts:
            async with stage.connect(f"ws/{session}") as stranger:
                await stranger.send(m.Attach(session, token, random_id()))
                error = await stranger.message(m.ErrorMessage)
                # A difference would tell a guesser which ids exist.
                words.add((error.code, error.message, await stranger.closed()))
    return "alike" if len(words) == 1 else f"{words}"


@GROUP.case("address-of-another", "a session, attached at the address of another", "bad_message")
async def _address(stage: Stage) -> str:
    async with stage.session() as one, stage.connect("ws/other-0000000000000000") as peer:
        assert one.opened
        await peer.send(m.Attach(one.opened.session, one.opened.token, random_id()))
        return await peer.error_code()


@GROUP.case("open-at-a-session", "a session, by `open` at its address", "bad_message")
async def _open_at(stage: Stage) -> str:
    async with stage.session() as one:
        assert one.opened
        async with stage.connect(f"ws/{one.opened.session}") as peer:
            await peer.send(m.Open("python", peer.client))
            return await peer.error_code()


@GROUP.case("nonce-replayed", "a session, by the nonce of its opening from another client", "another session")
async def _nonce(stage: Stage) -> str:
    nonce = random_id()
    async with stage.session(nonce=nonce) as one, stage.session(nonce=nonce) as two:
        assert one.opened
        assert two.opened
        return "another session" if one.opened.session != two.opened.session else "the same session"


@GROUP.case("nonce-repeated", "more sessions than one, by repeating an opening", "1 session")
async def _repeated(stage: Stage) -> str:
    nonce, client = random_id(), random_id()
    found = set()
    for _ in range(5):
        async with stage.connect(client=client) as peer:
            await peer.send(m.Open("python", client, nonce=nonce))
            await peer.wait(lambda peer=peer: peer.opened, 30, "session")  # type: ignore[misc]
            assert peer.opened
            found.add(peer.opened.session)
            # Without a close frame, as a client that lost its network.
            peer.drop()
            await peer.closed()
    return f"{len(found)} session"


@GROUP.case(
    "watcher-writes", "a session, by one that may only watch", "not_control x 9, the program unharmed"
)
async def _watcher(stage: Stage) -> str:
    async with stage.session() as peer:
        assert peer.opened
        await peer.run(1, "print('up'); print(input())", mode="tty")
        await peer.until(1, "up")
        async with stage.attach(peer.opened, role="watch") as watcher:
            await watcher.until(1, "up")
            await watcher.input(1, b"forged\n", offset=0)
            for message in (
                m.Kill(1), m.Signal(1, "KILL"), m.Resize(1, 10, 10), m.Eof(1, 0), m.Close(),
                m.Shell(2, 80, 24),
                m.Run(3, "pipe"), m.Run(1, "pipe"),
            ):  # fmt: skip
                await watcher.send(message)
            codes = Counter([await watcher.error_code() for _ in range(9)])
        await peer.input(1, b"own\n", offset=0)
        await peer.until(1, "own")
        text = (await peer.ended(1)).text
        unharmed = "the program unharmed" if "forged" not in text else f"saw {text!r}"
        return ", ".join(f"{code} x {count}" for code, count in codes.items()) + f", {unharmed}"


@GROUP.case(
    "control-fought-over",
    "the control, by two clients that take it again and again",
    "one controls, one watches",
)
async def _fight(stage: Stage) -> str:
    async with stage.session() as one:
        assert one.opened
        await one.run(1, "while True: print('got', input())", mode="tty")
        async with stage.attach(one.opened) as two:
            await two.message(m.Attached)
            for _ in range(200):
                await asyncio.gather(one.send(m.Take()), two.send(m.Take()))
            for number in range(2):  # the first answer to one may overtake what the other has just asked for
                await one.send(m.Ping(number))
                await two.send(m.Ping(number))
                await one.message(m.Pong)
                await two.message(m.Pong)
            roles = sorted(_role(peer) for peer in (one, two))
            holder = one if _role(one) == "control" else two
            await holder.input(1, b"last\n", offset=0)
            await holder.until(1, "got last")
    return "one controls, one watches" if roles == ["control", "watch"] else f"roles {roles}"


def _role(peer: Peer) -> str:
    """The role that the client was told last; a session's opener begins with the control."""
    roles = [one.role for one in peer.messages if isinstance(one, m.Role)]
    return roles[-1] if roles else "control"


@GROUP.case(
    "superseded-again-and-again", "a session, by 50 sockets of the same client", "49 superseded, 1 lives"
)
async def _superseded(stage: Stage) -> str:
    async with stage.session() as first:
        assert first.opened
        peers = []
        try:
            for _ in range(50):
                peer = await stage.connected(f"ws/{first.opened.session}", client="same-client-same-client")
                peers.append(peer)
                await peer.send(m.Attach(first.opened.session, first.opened.token, peer.client))
                await peer.message(m.Attached)
            closed = [await peer.closed() for peer in peers[:-1]]
            await peers[-1].send(m.Ping(1))
            await peers[-1].message(m.Pong)
            await peers[-1].send(m.Close())
            await peers[-1].closed()
            # 4409: the same client has attached again (docs/protocol.md).
            return f"{closed.count(4409)} superseded, 1 lives"
        finally:
            await asyncio.gather(*(peer.disconnect() for peer in peers))
