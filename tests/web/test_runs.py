"""Runs over plain HTTP: results, refusals, cancelling, and what is kept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import uuid

import pytest

from coderunner.core import codec
from coderunner.jobs.answer import Heard, answers
from coderunner.schema import messages as m
from tests.harness import Server, eventually, running_server, session
from tests.web.ordering import (
    COUNT,
    SETTINGS,
    Event,
    answer_of,
    ask,
    events,
    held,
    http,
    idle,
    left,
    numbers,
    run,
    slots_given,
)

# --- what comes back ------------------------------------------------------------------------------------


async def test_all_that_came_of_a_run(server):
    before = held(server)
    program = (
        "import os, sys, time\n"
        "print('out', sys.stdin.read(), sys.argv[1], os.environ['GREETING'], flush=True)\n"
        "time.sleep(0.1)\n"
        "print('err', file=sys.stderr, flush=True)\n"
        "time.sleep(0.1)\n"
        "print('again')\n"
        "sys.exit(3)\n"
    )
    told = await answer_of(server, source=program, stdin="ünï", args=["a b"], env={"GREETING": "hello"})
    first = "out ünï a b hello\n"
    assert told["stdout"] == first + "again\n"
    assert told["stderr"] == "err\n"
    assert told["output"] == first + "err\nagain\n"
    assert told["order"] == [len(first.encode()), 4, 6]
    assert (told["exit"]["reason"], told["exit"]["code"], told["exit"]["signal"]) == ("exited", 3, None)
    assert told["exit"]["usage"]["output_bytes"] == len(told["output"].encode())
    assert told["compile"] is None
    assert slots_given(server) > 0
    assert (told["language"], told["status"]) == ("python", "done")
    await idle(server, before)


async def test_a_compile_is_told_apart(server):
    good = '#include <stdio.h>\nint main(void) { int unused; puts("ran"); return 4; }\n'
    told = await answer_of(server, language="c", source=good)
    assert told["stdout"] == "ran\n"
    assert told["exit"]["code"] == 4
    assert told["compile"]["failed"] is False
    assert "unused" in told["compile"]["stderr"]
    assert "unused" not in told["stderr"]
    told = await answer_of(server, language="c", source="int main(void) { return x; }\n")
    assert told["compile"]["failed"] is True
    assert told["exit"]["reason"] == "compile_failed"
    assert told["output"] == told["stderr"] == ""
    (found,) = [one for one in told["diagnostics"] if one["severity"] == "error"]
    assert (found["path"], found["line"]) == ("main.c", 1)


async def test_bytes_that_are_no_text(server):
    program = "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])\n"
    told = await answer_of(server, source=program, stdin_base64=base64.b64encode(b"\xff\x00a").decode())
    assert base64.b64decode(told["stdout_base64"]) == b"a\x00\xff"
    assert "stdout" not in told


async def test_input_beyond_every_window(server):
    data = "".join(f"{i:09d}\n" for i in range(40_000))
    program = "import hashlib, sys\nprint(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())\n"
    told = await answer_of(server, source=program, stdin=data)
    assert told["stdout"].strip() == hashlib.sha256(data.encode()).hexdigest()


async def test_files_and_what_was_made_of_them(server):
    files = [
        {"path": "main.py", "content": "import part\nopen('a.svg', 'w').write(part.TEXT)\n"},
        {"path": "part.py", "content": "TEXT = '<svg/>'\n"},
    ]
    told = await answer_of(server, files=files, artifact_bytes=100)
    assert told["artifacts"] == [{"path": "a.svg", "mime": "image/svg+xml", "size": 6, "content": "<svg/>"}]
    told = await answer_of(server, files=files, artifact_bytes=5)
    assert told["artifacts"] == [{"path": "a.svg", "mime": "image/svg+xml", "size": 6}]


async def test_a_terminal(server):
    program = (
        "import os, sys\nprint(os.get_terminal_size(), sys.stdin.isatty())\nprint(sys.stdin.read().upper())\n"
    )
    told = await answer_of(server, source=program, mode="tty", cols=91, rows=17, stdin="a line, and more")
    assert "columns=91, lines=17" in told["stdout"]
    assert "A LINE, AND MORE" in told["stdout"]


async def test_what_a_program_lacks_is_said(server):
    told = await answer_of(server, source="import nothing_of_this_name")
    [hint] = told["exit"]["hints"]
    assert "nothing_of_this_name" in hint


async def test_limits_end_a_run(server):
    told = await answer_of(
        server, source="import time; print('up', flush=True); time.sleep(50)", limits={"wall_ms": 3000}
    )
    assert told["exit"]["reason"] == "wall_timeout"
    assert told["stdout"] == "up\n"
    flood = "import sys\nwhile True:\n    print('x' * 1000)\n"
    told = await answer_of(server, source=flood, limits={"output_bytes": 200_000})
    assert told["exit"]["reason"] == "output_limit"
    assert 200_000 <= len(told["stdout"]) < 2_000_000


async def test_a_flood_of_single_bytes_keeps_its_bound(server):
    flood = "import os\nwhile True:\n    os.write(1, b'o')\n    os.write(2, b'e')\n"
    told = await answer_of(server, source=flood, limits={"output_bytes": 400_000})
    assert told["exit"]["reason"] == "output_limit"
    assert len(told["output"]) == sum(told["order"])
    assert set(told["stdout"]) == {"o"}
    assert set(told["stderr"]) == {"e"}


# --- events ---------------------------------------------------------------------------------------------


async def test_events_come_as_they_happen_and_go_on_where_they_were_cut(server):
    key = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
    wanted = {"language": "python", "source": COUNT.format(n=60, pause=0.01)}
    seen: list[Event] = []
    async with http() as client:
        async with client.post(server.url + "api/run", json=wanted, headers=key) as answer:
            assert answer.content_type == "text/event-stream"
            place = answer.headers["Location"].lstrip("/")
            async for event in events(answer):
                seen.append(event)
                if event.name == "output" and "0000010" in event.data["text"]:
                    break
        last = [one.id for one in seen if one.id][-1]
        behind = {"Last-Event-ID": str(last)}
        async with client.get(f"{server.url}{place}/events", headers=behind) as answer:
            seen += [event async for event in events(answer)]
        end = seen[-1]
        assert end.name == "done"
        assert end.data["exit"]["code"] == 0
        assert "stdout" not in end.data
        output = [one.data for one in seen if one.name == "output"]
        assert "".join(one["text"] for one in output) == numbers(60)
        ids = [one.id for one in seen if one.id]
        assert ids == sorted(set(ids))
        async with client.get(
            f"{server.url}{place}/events", headers={"Last-Event-ID": str(ids[-2])}
        ) as answer:
            assert [event.name async for event in events(answer)] == ["done"]
        async with client.get(
            f"{server.url}{place}/events", headers={"Last-Event-ID": str(end.id)}
        ) as answer:
            assert answer.status == 204
        async with client.get(f"{server.url}{place}/events", headers={"Last-Event-ID": "7"}) as answer:
            assert answer.status == 400
            assert (await answer.json())["code"] == "bad_message"


@pytest.mark.parametrize("mode", ["tty", "pipe"])
async def test_a_stopped_program_is_told(server, mode):
    stops = "import os, signal\nprint('begun', flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)"
    wanted = {"language": "python", "source": stops, "mode": mode, "limits": {"wall_ms": 1500}}
    media = {"Accept": "text/event-stream"}
    async with http() as client, client.post(server.url + "api/run", json=wanted, headers=media) as answer:
        seen = [event async for event in events(answer)]
    assert {"by": "STOP"} in [event.data for event in seen if event.name == "stopped"]
    assert [event.data["reason"] for event in seen if event.name == "exit"] == ["wall_timeout"]


async def test_a_stream_that_had_begun_when_its_run_was_refused_says_so(tmp_path):
    wanted, media = {"language": "python", "source": "print(1)"}, {"Accept": "text/event-stream"}
    with running_server(tmp_path, **{**SETTINGS, "SESSIONS_PER_ADDRESS": "1"}) as one:
        async with session(one), http() as client:
            for _ in range(5):
                async with client.post(one.url + "api/run", json=wanted, headers=media) as answer:
                    assert answer.status == 200
                    seen = [event async for event in events(answer)]
                assert [event.name for event in seen] == ["run", "problem"]
                assert seen[-1].data["code"] == "too_many_sessions"
        assert "an answer failed" not in one.log.read_text()


@pytest.mark.long
async def test_programs_one_after_another_are_not_refused(tmp_path):
    """Removing their containers takes longer than sending the next program."""
    with running_server(tmp_path, **{**SETTINGS, "SESSIONS_PER_ADDRESS": "1"}) as one:
        replies = [await run(one, source="print(1)") for _ in range(8)]
        assert [reply.status for reply in replies] == [200] * 8, replies[-1].document


# --- keys -----------------------------------------------------------------------------------------------


async def test_a_key_runs_once_and_is_answered_again(server):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    program = "import uuid, time\ntime.sleep(0.3)\nprint(uuid.uuid4())\n"
    one, other = await asyncio.gather(*(run(server, key, source=program) for _ in range(2)))
    assert one.document == other.document
    assert (await run(server, key, source=program)).document == one.document
    place = one.headers["Location"].lstrip("/")
    assert (await ask(server, "GET", place)).document == one.document
    refused = await run(server, key, source=program + "#")
    assert (refused.status, refused.document["code"]) == (422, "key_reused")
    assert refused.headers["Content-Type"] == "application/problem+json"
    another = await run(server, {"Idempotency-Key": str(uuid.uuid4())}, source=program)
    assert another.document["stdout"] != one.document["stdout"]


async def test_with_a_key_a_lost_connection_cancels_nothing(server):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    program = "import time\ntime.sleep(1.5)\nprint('done all the same')\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await run(server, key, source=program)
    reply = await run(server, key, source=program)
    assert reply.document["stdout"] == "done all the same\n"


async def test_without_a_key_a_caller_that_goes_away_cancels(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        await _goes_away(server)


async def _goes_away(server: Server) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await run(server, source="import time\ntime.sleep(50)\n")
    await idle(server)
    async with http() as client:
        wanted = {"language": "python", "source": "import time\nprint('up', flush=True)\ntime.sleep(50)\n"}
        headers = {"Accept": "text/event-stream"}
        async with client.post(server.url + "api/run", json=wanted, headers=headers) as answer:
            async for event in events(answer):
                if event.name == "output":
                    break
    await idle(server)
    await eventually(lambda: not left(server), 10, "nothing kept of it")


async def test_delete_cancels(server):
    key = {"Idempotency-Key": str(uuid.uuid4())}
    program = "import time\nprint('up', flush=True)\ntime.sleep(50)\n"
    running = asyncio.create_task(run(server, {**key}, source=program))
    wanted = {"language": "python", "source": program}
    async with http() as client:
        headers = {**key, "Accept": "text/event-stream"}
        async with client.post(server.url + "api/run", json=wanted, headers=headers) as answer:
            place = answer.headers["Location"].lstrip("/")
            async for event in events(answer):
                if event.name == "output":
                    break
    status = await ask(server, "GET", place)
    assert (status.status, status.document["status"]) == (202, "running")
    assert (await ask(server, "DELETE", place)).status == 202
    told = (await running).document
    assert told["exit"]["reason"] == "killed"
    assert told["stdout"] == "up\n"
    assert (await ask(server, "GET", f"{place}?wait=20")).document == told
    assert (await ask(server, "DELETE", place)).status == 202
    assert (await ask(server, "GET", place)).document == told


# --- what is refused ------------------------------------------------------------------------------------

GOOD = {"language": "python", "source": "1"}
DEEP = '{"language": "python", "source": "1", "env": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}"


@pytest.mark.parametrize(
    ("body", "status", "code", "named"),
    [
        ({**GOOD, "sauce": 1}, 400, "bad_message", "sauce"),
        ({**GOOD, "args": [1]}, 400, "bad_message", "args[0]"),
        ({**GOOD, "args": ["\0"]}, 400, "bad_message", "args[0]"),
        ({**GOOD, "mode": "screen"}, 400, "bad_message", "one of tty, pipe"),
        ({**GOOD, "artifact_bytes": 2**30}, 400, "bad_message", "from 0 to 1048576"),
        ({**GOOD, "files": [{"path": "a", "content": "b"}]}, 400, "bad_message", "either source or files"),
        ({"language": "python"}, 400, "bad_message", "either source or files"),
        ({"source": "1"}, 400, "bad_message", "language is missing"),
        ({**GOOD, "stdin": "a", "stdin_base64": "YQ=="}, 400, "bad_message", "stdin"),
        ({**GOOD, "stdin_base64": "!"}, 400, "bad_message", "stdin_base64"),
        ({**GOOD, "language": "pyhton"}, 400, "unknown_language", "python"),
        ({**GOOD, "limits": {"walls": 1}}, 400, "bad_limit", "limits.walls"),
        ({**GOOD, "limits": {"wall_ms": 10**12}}, 400, "bad_limit", "at most"),
        ({**GOOD, "limits": {"output_bytes": 10**9}}, 400, "bad_limit", "8388608"),
        ({**GOOD, "entry": "../x"}, 400, "bad_path", "x"),
        ({"language": "python", "files": [{"path": "../x", "content": ""}]}, 400, "bad_path", ".."),
        ({**GOOD, "env": {"A" * 20000: "1"}}, 400, "bad_message", "env"),
        ([GOOD], 400, "bad_json", "one JSON object"),
        ("{", 400, "bad_json", "one JSON object"),
        (b'{"language": "\xff"}', 400, "bad_json", "UTF-8"),
        (DEEP, 400, "bad_json", "one JSON object"),
        ('{"args": [' + "1," * 100_000 + "1]}", 400, "bad_message", "values"),
        (b" " * (4 * 1024 * 1024 + 1), 413, "body_too_large", "4194304"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_begins(server, body, status, code, named):
    begun = slots_given(server)
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    reply = await ask(server, "POST", "api/run", data=data, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.document["code"]) == (status, code), reply.document
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.document["status"] == status
    assert named in reply.document["detail"], reply.document["detail"]
    assert len(reply.document["detail"]) < 2000
    assert slots_given(server) == begun
    assert server.stats()["queue"]["queued"] == 0


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_a_foreign_page_may_send_is_refused(server, media):
    headers = {"Content-Type": media} if media else {}
    reply = await ask(server, "POST", "api/run", data=json.dumps(GOOD).encode(), headers=headers)
    assert (reply.status, reply.document["code"]) == (415, "bad_media")


@pytest.mark.parametrize(
    ("name", "value"), [("Idempotency-Key", "1"), ("Idempotency-Key", "x" * 200), ("Last-Event-ID", "-1")]
)
async def test_headers_that_say_nothing(server, name, value):
    reply = await run(server, {name: value}, source="1")
    assert (reply.status, reply.document["code"]) == (400, "bad_message")
    assert name in reply.document["detail"]


async def test_runs_of_others_are_not_there(server):
    for method in ("GET", "DELETE"):
        reply = await ask(server, method, "api/runs/" + "x" * 32)
        assert (reply.status, reply.document["code"]) == (404, "no_run")
    reply = await ask(server, "GET", "api/runs/" + "x" * 32 + "/events")
    assert (reply.status, reply.document["code"]) == (404, "no_run")
    reply = await run(server, {"Authorization": "Bearer nobody"}, source="1")
    assert (reply.status, reply.document["code"]) == (401, "unauthenticated")


# --- other origins --------------------------------------------------------------------------------------


async def test_pages_of_allowed_origins_may_run_and_others_may_not(tmp_path):
    origin = "https://docs.example.com"
    with running_server(tmp_path, **SETTINGS, ALLOWED_ORIGINS=origin) as one:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = await ask(one, "OPTIONS", "api/run", headers=asked)
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == origin
        assert "POST" in reply.headers["Access-Control-Allow-Methods"]
        assert "Idempotency-Key" in reply.headers["Access-Control-Allow-Headers"]
        reply = await run(one, {"Origin": origin}, source="print(1)")
        assert reply.document["stdout"] == "1\n"
        assert reply.headers["Access-Control-Allow-Origin"] == origin
        reply = await run(one, {"Origin": origin}, source="1", args=3)
        assert reply.status == 400
        assert reply.headers["Access-Control-Allow-Origin"] == origin
        for method in ("OPTIONS", "POST"):
            reply = await ask(
                one, method, "api/run", json=GOOD, headers={"Origin": "https://evil.example.com"}
            )
            assert (reply.status, reply.document["code"]) == (403, "not_allowed")
            assert "Access-Control-Allow-Origin" not in reply.headers


# --- what is kept -----------------------------------------------------------------------------------------


async def test_answers_have_a_bound(tmp_path):
    with running_server(tmp_path, **SETTINGS, SPOOL_SIZE="16m") as server:
        for _ in range(40):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            reply = await run(server, key, source="print('x' * 400_000)", limits={"output_bytes": 500_000})
            if reply.status != 200:
                break
        assert (reply.status, reply.document["code"]) == (503, "spool_full")
        assert 500 < int(reply.headers["Retry-After"]) <= 606
        await idle(server)


def test_an_answer_is_told_in_pieces_and_is_the_same_as_at_once():
    """Characters that are split between two records, and bytes that are not text, in both phases."""
    text = 'a\u00e9\n"\\'
    parts = [(1, text.encode()[:2]), (1, text.encode()[2:]), (2, b"\xff\xfe"), (1, b"x" * 40), (2, b"yz")]
    frames, at = [], 0
    for stream, data in parts:
        frames.append(codec.OutputFrame(1, stream, at, data))
        at += len(data)
    heard = Heard()
    usage = m.Usage(wall_ms=1, cpu_ms=1, memory_peak_bytes=1, output_bytes=at)
    heard.news(m.State(1, "running", 8))
    heard.news(m.Exit(1, 0, None, "exited", (), 0, usage, at))
    about = {"id": "i", "status": "done", "language": "c", "version": "1"}
    short, whole = answers(about, heard, lambda: iter(frames), (), compiles=True)
    told = json.loads(b"".join(whole))
    every = b"".join(data for _, data in parts)
    assert told["output"].encode() == every[8:]
    assert base64.b64decode(told["compile"]["output_base64"]) == every[:8]
    assert told["compile"]["stdout"] == text
    assert "stdout_base64" not in told["compile"]
    assert told["order"] == [40, 2]
    without = json.loads(short)
    assert without.pop("compile") == {"failed": False}
    assert without == {name: told[name] for name in without}
    assert "output" not in without


async def test_what_a_run_was_given_is_not_kept_beyond_its_end(server: Server):
    """Neither in memory nor on the disk: thousands of answers are kept for ten minutes."""
    source = "print(1)#" + "x" * 900_000
    reply = await run(server, {"Idempotency-Key": str(uuid.uuid4())}, source=source)
    folder = next(server.log.parent.rglob(reply.document["id"]))
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10_000
