"""Sessions over plain HTTP: everything that a client without a WebSocket can do; nothing is lost or
doubled."""

from __future__ import annotations

import contextlib
import json
import uuid

import pytest

from tests.harness import attach, eventually
from tests.web.ordering import ask, http
from tests.web.polling import Caller, open_session

ECHO = "import sys\nfor line in sys.stdin: print('got', line.strip(), flush=True)\n"
MUCH = "for i in range(100_000): print('%09d' % i)"
EXPECTED = b"".join(b"%09d\n" % i for i in range(100_000))


@pytest.fixture
async def caller(server):
    one = await open_session(server)
    yield one
    await one("DELETE")


async def start(caller: Caller, source: str, *, channel: int = 1, mode: str = "pipe", **fields):
    files = [{"path": "main.py", "content": source}]
    return await caller.act("run", channel=channel, mode=mode, files=files, **fields)


async def test_a_program_is_run_typed_to_and_ended(caller):
    told = await start(caller, ECHO)
    assert (told["role"], told["phase"], told["input_offset"]) == ("control", "running", 0)
    told = await caller.act("input", channel=1, offset=0, text="a\nb\n")
    assert told["input_offset"] == 4
    # The same once more, as after an answer that was lost.
    await caller.act("input", channel=1, offset=0, text="a\nb\n")
    await caller.until(lambda: caller.output.get(1) == b"got a\ngot b\n")
    await caller.act("input", channel=1, offset=4, base64="w7YK", eof=True)
    exit = await caller.ended(1)
    assert (exit["code"], exit["reason"]) == (0, "exited")
    assert caller.output[1].decode() == "got a\ngot b\ngot ö\n"
    assert caller.seen[0]["type"] == "attached"
    assert [one["phase"] for one in caller.of("state")] == ["running", "exited"]
    shown = (await caller("GET")).document
    assert shown["channels"][0]["exit"]["code"] == 0


async def test_a_terminal_is_resized_and_signalled(caller):
    await caller.act("shell", channel=2, cols=80, rows=24)
    await caller.act("resize", channel=2, cols=101, rows=33)
    # In a loop: a signal between `fork` and `exec` of one long sleep reaches neither trap nor program.
    loop = "while :; do sleep 0.1; done"
    typed = f"sh -c 'stty size; trap \"echo c$((1))aught; exit\" INT; echo s$((1))et; {loop}'\n"
    await caller.act("input", channel=2, offset=0, text=typed)
    await caller.until(lambda: b"s1et" in caller.output.get(2, b""))
    assert b"33 101" in caller.output[2]
    await caller.act("signal", channel=2, name="INT")
    await caller.until(lambda: b"c1aught" in caller.output[2])
    await caller.act("input", channel=2, offset=len(typed), text="echo $((6*7))4; exit 3\n")
    exit = await caller.ended(2)
    assert b"424" in caller.output[2]
    assert exit["code"] == 3


async def test_what_was_not_confirmed_is_told_again(caller):
    await start(caller, "print('once')")
    await caller.poll()
    before = caller.last
    await caller.ended(1)
    told = [(await caller("GET", "/events", params={"after": before})).document["events"] for _ in range(2)]
    assert told[0] == told[1]
    # From the beginning, though all of it was confirmed once: the program's output is still kept.
    caller.last, caller.seen, caller.output = "", [], {}
    await caller.ended(1)
    assert caller.output[1] == b"once\n"


async def test_who_confirms_nothing_holds_the_program_and_loses_nothing(caller):
    await start(caller, MUCH)
    for _ in range(3):  # always the first events, as after answers that were lost
        told = (await caller("GET", "/events", params={"wait": "10"})).document
        assert told["events"][0]["data"]["type"] == "attached"
    assert (await caller("GET")).document["channels"][0]["exit"] is None
    assert (await caller.ended(1))["code"] == 0
    assert caller.output[1] == EXPECTED


async def test_a_stream_ends_after_a_window_and_goes_on_behind_the_last_event(caller):
    await start(caller, MUCH)
    streams = 0
    while not caller.of("exit"):
        streams += 1
        async with http() as client:
            headers = {"Authorization": f"Bearer {caller.token}", "Accept": "text/event-stream"}
            if caller.last:
                headers["Last-Event-ID"] = caller.last
            address = f"{caller.server.url}api/sessions/{caller.session}/events"
            async with client.get(address, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                identity, taken = "", 0
                async for raw in answer.content:
                    name, _, value = raw.decode().rstrip("\n").partition(": ")
                    if name == "id":
                        identity = value
                    elif name == "data":
                        caller.take(identity, json.loads(value))
                        taken += 1
                    if caller.of("exit") or (streams == 2 and taken == 3):  # cut in the middle
                        break
    assert caller.output[1] == EXPECTED
    assert streams >= 6


async def test_who_follows_is_told_how_the_session_ended(server):
    caller = await open_session(server)
    await start(caller, "print('last words', flush=True)\nimport time\ntime.sleep(1000)")
    await caller.until(lambda: caller.output.get(1) == b"last words\n")
    reply = await caller("DELETE")
    assert reply.document == {"session": caller.session}
    await caller.until(lambda: caller.over)
    assert caller.of("exit")[0]["reason"] == "session_closed"
    assert caller.of("closed")[0]["reason"] == "client"
    for method, path in (("GET", ""), ("POST", "/extend"), ("DELETE", "")):
        assert (await caller(method, path)).status == 404
    stranger = Caller(server, caller.session, "x" * 43)
    assert (await stranger.poll()).status == 404


async def test_ones_own_sessions_are_listed(server, caller):
    other = await open_session(server)
    headers = {"Authorization": f"Bearer {caller.token}"}
    (row,) = (await ask(server, "GET", "api/sessions", headers=headers)).document["sessions"]
    assert (row["session"], row["language"], row["attached"]) == (caller.session, "python", 0)
    await caller.act("extend")
    (row,) = (await ask(server, "GET", "api/sessions", headers=headers)).document["sessions"]
    assert row["attached"] == 1
    assert (await ask(server, "GET", "api/sessions")).status == 401
    wrong = {"Authorization": "Bearer unknown"}
    assert (await ask(server, "GET", "api/sessions", headers=wrong)).status == 401
    await other("DELETE")


async def test_the_same_key_opens_one_session(server):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"language": "python"}
    one, two = [await ask(server, "POST", "api/sessions", json=body, headers=key) for _ in range(2)]
    assert (one.status, two.status) == (201, 201)
    assert (one.document["session"], one.document["token"]) == (
        two.document["session"],
        two.document["token"],
    )
    other = await ask(server, "POST", "api/sessions", json={"language": "bash"}, headers=key)
    assert (other.status, other.document["code"]) == (422, "key_reused")
    await Caller(server, one.document["session"], one.document["token"])("DELETE")


async def test_a_page_takes_the_control_and_gives_it_back(server, caller):
    await start(caller, ECHO)
    async with contextlib.AsyncExitStack() as stack:
        page = await stack.enter_async_context(attach(server, caller))
        await caller.until(lambda: [one["role"] for one in caller.of("role")] == ["watch"])
        refused = await caller("POST", "/input", json={"channel": 1, "offset": 0, "text": "x"})
        assert (refused.status, refused.document["code"]) == (409, "not_control")
        await page.input(1, b"by hand\n")
        await caller.until(lambda: caller.output.get(1) == b"got by hand\n")
        assert (await caller.act("take"))["role"] == "control"
        await caller.act("input", channel=1, offset=8, text="again\n")
        await caller.until(lambda: caller.output[1] == b"got by hand\ngot again\n")


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/run", {"channel": 1, "mode": "pipe", "sauce": 1}, 400, "sauce"),
        ("/run", {"channel": 70000, "mode": "pipe"}, 400, "channel"),
        ("/run", {"channel": 1, "mode": "pipe", "limits": {"wall_ms": 10**12}}, 400, "wall_ms"),
        ("/shell", {"channel": 1}, 400, "cols"),
        ("/input", {"channel": 9, "offset": 0, "text": "x"}, 404, "no channel 9"),
        ("/input", {"channel": 1, "offset": 0, "text": "x", "base64": "eA=="}, 400, "base64"),
        ("/input", {"channel": 1, "offset": 0, "text": "ö" * 40_000}, 400, "65536"),
        ("/signal", {"channel": 1, "name": "STOP"}, 400, "name"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(caller, path, body, status, word):
    reply = await caller("POST", path, json=body)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert word in reply.document["detail"]


async def test_input_that_skips_bytes_is_told_where_to_go_on(caller):
    await start(caller, ECHO)
    reply = await caller("POST", "/input", json={"channel": 1, "offset": 5, "text": "x"})
    assert (reply.status, reply.document["code"], reply.document["expected"]) == (409, "input_gap", 0)


@pytest.mark.parametrize(
    "after", ["x", "a.1.70000:1", "a.b.c", "é" * 3, "a.1." + "1:1," * 900, "a.1.0-9x,9x"]
)
async def test_an_id_that_is_none_is_refused(caller, after):
    reply = await caller("GET", "/events", params={"after": after})
    assert (reply.status, reply.document["code"]) == (400, "bad_message")


async def test_a_foreign_id_continues_from_its_positions(caller):
    await start(caller, "print('0123456789')")
    await caller.ended(1)
    caller.last, caller.seen, caller.output = "elsewhere.7.1:4", [], {1: b"0123"}
    await caller.ended(1)
    assert caller.output[1] == b"0123456789\n"


async def test_a_session_opened_with_files_has_them(server):
    caller = await open_session(server, files=[{"path": "a/b.txt", "content": "ab"}])
    listed = (await caller("GET", "/files")).document["files"]
    assert "a/b.txt" in [one["path"] for one in listed]
    await caller("DELETE")


async def test_a_language_that_is_none_opens_nothing(server):
    before = server.stats()["queue"]["active"]
    reply = await ask(server, "POST", "api/sessions", json={"language": "none"})
    assert (reply.status, reply.document["code"]) == (400, "unknown_language")
    reply = await ask(server, "POST", "api/sessions", json={"language": "python", "client": "x"})
    assert (reply.status, "client" in reply.document["detail"]) == (400, True)
    await eventually(lambda: server.stats()["queue"]["active"] <= before, 10, "no slot held")
