"""Batches: verdicts and their evidence, one compilation, and isolation of the cases."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import signal
import uuid
from typing import Any

import aiohttp
import pytest

from coderunner.attack.clients.batches import GROUP
from coderunner.attack.stage import Stage
from tests.harness import docker, eventually, running_server
from tests.web import ordering
from tests.web.ordering import (
    SETTINGS,
    Event,
    again,
    ask,
    events,
    held,
    http,
    idle,
    left,
    slots_given,
)

SUM = "a, b = map(int, input().split())\nprint(a + b)\n"


def sums(count: int) -> list[dict[str, Any]]:
    return [{"stdin": f"{i} {i + 1}\n", "expected": f"{2 * i + 1}\n"} for i in range(count)]


batch = functools.partial(ordering.order, "batch")
graded = functools.partial(ordering.done, "batch")


def verdicts(told: Any) -> list[str]:
    return [one["verdict"] for one in told["cases"]]


# --- verdicts -------------------------------------------------------------------------------------------


async def test_each_case_has_its_verdict_and_its_evidence(server):
    before = held(server)
    program = """
import sys
word = input()
if word == 'right': print('answer')
elif word == 'wrong': print('other')
elif word == 'slow':
    while True: pass
elif word == 'crash': sys.exit(3)
elif word == 'killed':
    import os; os.kill(os.getpid(), 11)
elif word == 'flood':
    while True: print('x' * 1000)
elif word == 'memory':
    kept = []
    while True: kept.append(bytearray(b'1') * 50_000_000)
"""
    words = ["right", "wrong", "slow", "crash", "killed", "flood", "memory", "right"]
    cases = [{"name": word, "stdin": word + "\n", "expected": "answer"} for word in words]
    told = await graded(server, source=program, cases=cases, limits={"wall_ms": 4000, "output_bytes": 50_000})
    assert verdicts(told) == [
        "passed", "wrong_answer", "time_limit", "runtime_error", "runtime_error", "output_limit",
        "memory_limit", "passed",
    ]  # fmt: skip
    assert told["counts"]["passed"] == told["passed"] == 2
    assert [one["name"] for one in told["cases"]] == words
    assert told["end"] == "done"
    assert told["compile"] is None
    wrong = told["cases"][1]
    assert wrong["stdout"] == "other\n"
    assert wrong["message"] == "word 1: expected 'answer', found 'other'"
    assert told["cases"][3]["code"] == 3
    assert told["cases"][4]["signal"] == "SEGV"
    assert told["cases"][0]["usage"]["cpu_ms"] > 0
    assert len(told["cases"][5]["stdout"]) == 256
    await idle(server, before)


async def test_one_compile_for_all(server):
    program = """
#include <stdio.h>
int main(void) { int a, b, unused; return scanf("%d %d", &a, &b) == 2 && printf("%d\\n", a + b) ? 0 : 1; }
"""
    told = await graded(server, language="c", source=program, cases=sums(30))
    assert told["passed"] == 30
    assert told["compile"]["stderr"].count("unused") > 0
    assert all(one["stderr"] == "" for one in told["cases"])
    told = await graded(server, language="c", source="int main(void) { return x; }\n", cases=sums(2))
    assert told["end"] == "compile_failed"
    assert told["compile"]["failed"] is True
    assert verdicts(told) == ["not_run", "not_run"]
    # A compiler that a limit ends makes no program either: no case of it is an error of the program.
    times = "\n".join(f"#define A{n} {' '.join([f'A{n - 1}'] * 8)}" for n in range(1, 9))
    slow = f"#define A0 +1\n{times}\nint main(void) {{ return 0 A8; }}\n"
    told = await graded(server, language="c", source=slow, cases=sums(2), compile_ms=1000)
    assert (told["end"], told["compile"]["failed"]) == ("compile_failed", True)
    assert verdicts(told) == ["not_run", "not_run"]


async def test_the_limits_of_a_case_are_not_the_compilers(server):
    # The library's headers alone take a compiler several times as long as the case may compute.
    adds = (
        "#include <bits/stdc++.h>\nint main() { int a, b, unused; std::cin >> a >> b; std::cout << a + b; }"
    )
    told = await graded(
        server, language="cpp", source=adds, cases=sums(1), limits={"cpu_ms": 100, "output_bytes": 1024}
    )
    assert (told["end"], told["compile"]["failed"], verdicts(told)) == ("done", False, ["passed"])


async def test_checkers(server):
    cases = [
        {"stdin": "0.1 0.2\n", "expected": "0.3"},
        {"stdin": "1 2\n", "expected": "3"},
        {"stdin": "1e400 1\n", "expected": "inf"},
    ]
    program = "a, b = map(float, input().split())\nprint(a + b)\n"
    told = await graded(server, source=program, cases=cases, checker={"kind": "floats"})
    assert verdicts(told) == ["passed", "passed", "passed"]
    told = await graded(server, source=program, cases=cases, checker={"kind": "tokens"})
    assert verdicts(told) == ["wrong_answer", "wrong_answer", "passed"]
    spaced = "print('a  b\\n\\nc')"
    one = [{"expected": "a b\nc\n"}]
    assert verdicts(await graded(server, source=spaced, cases=one)) == ["passed"]
    exact = await graded(server, source=spaced, cases=one, checker={"kind": "exact"})
    assert verdicts(exact) == ["wrong_answer"]
    assert exact["cases"][0]["message"].startswith("byte 2:")
    assert verdicts(await graded(server, source="", cases=[{}])) == ["passed"]


async def test_a_program_that_checks(server):
    checker = """
import sys
given, got, wanted = (open(name).read() for name in sys.argv[1:])
if got == 'break': sys.exit(9)
print('judged', given.strip())
sys.exit(0 if got in wanted else 1)
"""
    told = await graded(
        server,
        source="print(input(), end='')",
        cases=[{"stdin": word, "expected": "one two"} for word in ("one", "three", "break", "two")],
        checker={"kind": "program", "language": "python", "source": checker},
    )
    assert verdicts(told) == ["passed", "wrong_answer", "checker_failed", "passed"]
    assert told["cases"][0]["message"] == "judged one"
    broken = {"kind": "program", "language": "c", "source": "int main(void) { return x; }"}
    told = await graded(server, source="print(1)", cases=[{}], checker=broken)
    assert verdicts(told) == ["checker_failed"]
    assert "undeclared" in told["cases"][0]["message"]


async def test_stop_at_first_and_side_by_side(server):
    cases = [*sums(3), {"stdin": "1 1\n", "expected": "3"}, *sums(3)]
    told = await graded(server, source=SUM, cases=cases, stop_at_first=True)
    assert verdicts(told) == [*["passed"] * 3, "wrong_answer", *["not_run"] * 3]
    assert told["end"] == "stopped"
    given = slots_given(server)
    slow = "import time\ntime.sleep(0.5)\n" + SUM
    told = await graded(server, source=slow, cases=sums(8), parallel=2)
    assert told["passed"] == 8
    assert slots_given(server) == given + 2


async def test_files_and_arguments(server):
    files = [
        {"path": "main.py", "content": "import sys, part\nprint(part.NAME, *sys.argv[1:])\n"},
        {"path": "part.py", "content_base64": "TkFNRSA9ICdwYXJ0Jwo="},
    ]
    cases = [{"args": ["b"], "expected": "part a b"}, {"expected": "part a"}]
    assert (await graded(server, files=files, args=["a"], cases=cases))["passed"] == 2


# --- cheating -------------------------------------------------------------------------------------------

QUICK = [case for case in GROUP.cases if case.name not in ("batch-fork-bomb", "batch-too-many-cases")]


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
async def test_a_case_leaves_nothing_and_learns_nothing(server, case):
    async with Stage(server.url) as stage:
        assert await case.script(stage) in case.expected


# --- events, keys, ends ---------------------------------------------------------------------------------


async def test_verdicts_come_as_they_are_made_and_go_on_where_they_were_cut(server):
    key = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
    wanted = {"language": "python", "source": SUM, "cases": sums(20)}
    seen: list[Event] = []
    async with http() as client:
        async with client.post(server.url + "api/batch", json=wanted, headers=key) as answer:
            place = answer.headers["Location"].lstrip("/")
            async for event in events(answer):
                seen.append(event)
                if event.name == "case" and event.data["index"] == 4:
                    break
        behind = {"Last-Event-ID": str(seen[-1].id)}
        async with client.get(f"{server.url}{place}/events", headers=behind) as answer:
            seen += [event async for event in events(answer)]
    assert seen[0].name == "batch"
    assert [one.data["index"] for one in seen if one.name == "case"] == list(range(20))
    assert seen[-1].name == "done"
    assert seen[-1].data["passed"] == 20
    assert "cases" not in seen[-1].data
    whole = await ask(server, "GET", place)
    assert whole.document["passed"] == 20
    same = {"Idempotency-Key": key["Idempotency-Key"]}
    assert (await batch(server, same, **wanted)).document == whole.document
    other = await batch(server, same, source="1", cases=[{}])
    assert (other.status, other.document["code"]) == (422, "key_reused")
    as_run = await ask(server, "GET", place.replace("batches", "runs"))
    assert (as_run.status, as_run.document["code"]) == (404, "no_run")


async def test_delete_cancels_and_tells_what_was_judged(server):
    before = held(server)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    program = "import time\nif input() == '2': time.sleep(50)\n"
    cases = [{"stdin": str(i)} for i in range(5)]
    running = asyncio.create_task(batch(server, key, source=program, cases=cases, limits={"wall_ms": 60_000}))
    wanted = {"language": "python", "source": program, "cases": cases, "limits": {"wall_ms": 60_000}}
    async with http() as client:
        headers = {**key, "Accept": "text/event-stream"}
        async with client.post(server.url + "api/batch", json=wanted, headers=headers) as answer:
            place = answer.headers["Location"].lstrip("/")
            async for event in events(answer):
                if event.name == "case" and event.data["index"] == 1:
                    break
    status = await ask(server, "GET", place)
    assert (status.status, status.document["finished"], status.document["cases"]) == (202, 2, 5)
    assert (await ask(server, "DELETE", place)).status == 202
    told = (await running).document
    assert told["end"] == "cancelled"
    assert verdicts(told) == ["passed", "passed", "not_run", "not_run", "not_run"]
    await idle(server, before)


async def test_without_a_key_a_caller_that_goes_away_cancels(tmp_path):
    with running_server(tmp_path, **SETTINGS) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await batch(server, source="import time\ntime.sleep(9)\n", cases=[{}] * 50)
        await idle(server)
        await eventually(lambda: not left(server), 10, "nothing kept of it")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_batch_outlives_the_server(tmp_path, how):
    key = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
    wanted = {"language": "python", "source": SUM, "cases": sums(60)}
    seen: list[Event] = []
    with running_server(tmp_path, **SETTINGS) as server:
        async with http() as client:
            async with client.post(server.url + "api/batch", json=wanted, headers=key) as answer:
                with contextlib.suppress(aiohttp.ClientError):
                    async for event in events(answer):
                        seen.append(event)
                        if event.name == "case" and event.data["index"] == 5:
                            server.stop(how)
        assert seen[-1].name != "done"
        server.process = again(server, tmp_path).process
        behind = {**key, "Last-Event-ID": str([one.id for one in seen if one.id][-1])}
        async with http() as client:
            async with client.post(server.url + "api/batch", json=wanted, headers=behind) as answer:
                assert answer.status == 200, await answer.text()
                seen += [event async for event in events(answer)]
        assert [one.data["index"] for one in seen if one.name == "case"] == list(range(60))
        assert seen[-1].data["passed"] == 60
        await idle(server)


async def test_a_batch_waits_for_a_container_that_answers_late(tmp_path):
    key = {"Idempotency-Key": str(uuid.uuid4()), "Accept": "text/event-stream"}
    wanted = {"language": "python", "source": SUM, "cases": sums(60)}
    with running_server(tmp_path, **SETTINGS) as server:
        async with http() as client:
            async with client.post(server.url + "api/batch", json=wanted, headers=key) as answer:
                with contextlib.suppress(aiohttp.ClientError):
                    async for event in events(answer):
                        if event.name == "case" and event.data["index"] == 5:
                            names = server.containers()
                            docker("kill", "--signal=STOP", *names)
                            server.stop(signal.SIGKILL)
        server.process = again(server, tmp_path).process
        async with http() as client:
            async with client.post(server.url + "api/batch", json=wanted, headers=key) as answer:
                assert answer.status == 200, await answer.text()
                docker("kill", "--signal=CONT", *names)
                seen = [event async for event in events(answer)]
        assert [one.data["index"] for one in seen if one.name == "case"] == list(range(60))
        assert seen[-1].data["passed"] == 60
        await idle(server)


# --- what is refused ------------------------------------------------------------------------------------

GOOD = {"language": "python", "source": "1", "cases": [{}]}


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({**GOOD, "cases": []}, "bad_message", "1 to 10000 cases"),
        ({**GOOD, "cases": [{}] * 10_001}, "bad_message", "1 to 10000 cases"),
        ({**GOOD, "cases": [{"stdin": 1}]}, "bad_message", "cases[0].stdin"),
        ({**GOOD, "cases": [{"input": ""}]}, "bad_message", "cases[0].input"),
        ({**GOOD, "cases": [{"stdin": "", "stdin_base64": ""}]}, "bad_message", "cases[0].stdin"),
        ({**GOOD, "cases": [{"args": ["\0"]}]}, "bad_message", "NUL"),
        ({**GOOD, "parallel": 9}, "bad_message", "from 1 to 8"),
        ({**GOOD, "shown_bytes": 65536, "cases": [{}] * 1000}, "bad_message", "shown_bytes"),
        ({**GOOD, "checker": {"kind": "magic"}}, "bad_message", "one of exact"),
        ({**GOOD, "checker": {"kind": "program"}}, "bad_message", "checker"),
        ({**GOOD, "checker": {"kind": "exact", "source": "1"}}, "bad_message", "checker"),
        (
            {**GOOD, "checker": {"kind": "program", "language": "none", "source": "1"}},
            "unknown_language",
            "none",
        ),
        ({**GOOD, "limits": {"wall_ms": 10**12}}, "bad_limit", "at most"),
        ({**GOOD, "entry": "../x"}, "bad_path", "x"),
        ({**GOOD, "language": "pyhton"}, "unknown_language", "python"),
        ('{"language":"python","source":"1","cases":[' + "{}," * 300_000 + "{}]}", "bad_message", "values"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_begins(server, body, code, named):
    begun = slots_given(server)
    data = body if isinstance(body, str) else json.dumps(body)
    reply = await ask(server, "POST", "api/batch", data=data, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.document["code"]) == (400, code), reply.document
    assert named in reply.document["detail"]
    assert len(reply.document["detail"]) < 5000
    assert slots_given(server) == begun
