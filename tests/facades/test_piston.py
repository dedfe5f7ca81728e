"""Piston's interface: the requests of its documentation, its refusals, its WebSocket, its clients."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coderunner.attack import raw
from coderunner.schema.api import MAX_BODY
from tests.harness import ROOT, Server, eventually
from tests.web.ordering import ask, http, idle

NAMED = "import sys, part\nraw, text = (open(name, 'rb').read() for name in ('raw', 'hex'))\n"
NAMED += "print(part.WORD, input(), sys.argv[1:], raw, text)\nprint('e', file=sys.stderr)"
PYTHON = {"language": "python", "version": "3.10.0"}


async def execute(server: Server, *, at: str = "api/v2/execute", **fields: Any) -> Any:
    reply = await ask(server, "POST", at, json={**PYTHON, **fields})
    assert reply.status == 200, reply.document
    return reply.document


def source(text: str, **more: Any) -> dict[str, Any]:
    return {"files": [{"content": text, **more}]}


async def test_the_languages_and_their_names(facades: Server):
    for path in ("api/v2/runtimes", "api/v2/piston/runtimes", "api/v2/runtimes/"):
        reply = await ask(facades, "GET", path)
        rows = {row["language"]: row for row in reply.document}
        assert reply.status == 200
        assert rows["c"] == {"language": "c", "version": "14.2.0", "aliases": ["gcc"], "runtime": "gcc"}
        assert "py3" in rows["python"]["aliases"]
        assert "rust" not in rows  # which this server does not offer
    assert {row["language"] for row in (await ask(facades, "GET", "api/v2/packages")).document} == {
        "python",
        "gcc",
    }


async def test_a_program_with_all_that_it_may_have(facades: Server):
    told = await execute(
        facades,
        at="api/v2/piston/execute",
        language="py",
        files=[
            {"name": "my_code.py", "content": NAMED},
            {"name": "part.py", "content": "V09SRCA9ICdoaSc=", "encoding": "base64"},
            {"name": "raw", "content": "_-8 \n=x", "encoding": "base64"},
            {"name": "hex", "content": "6162Cg", "encoding": "hex"},
        ],
        stdin="line",
        args=["1", "2 3", True, None, 4],
        compile_timeout=10000, run_timeout=3000, compile_memory_limit=-1, run_memory_limit=-1,
    )  # fmt: skip
    run = told["run"]
    assert (told["language"], told["version"]) == ("python", "3.13.0")
    assert "compile" not in told
    assert run["stdout"] == "hi line ['1', '2 3', 'true', 'null', '4'] b'\\xff\\xef' b'ab'\n"
    assert (run["stderr"], run["code"], run["signal"]) == ("e\n", 0, None)
    assert (run["status"], run["message"]) == (None, None)
    assert sorted(run["output"].splitlines()) == sorted([run["stdout"].strip(), "e"])
    assert run["memory"] > 1_000_000
    assert run["wall_time"] > 0
    assert run["cpu_time"] >= 0


async def test_a_compiler_has_a_stage_of_its_own(facades: Server):
    told = await execute(
        facades,
        language="c",
        version="10.x",
        **source('#include <stdio.h>\nint main(void) { int u; puts("ran"); return 4; }'),
    )
    assert told["compile"]["code"] == 0
    assert "unused" in told["compile"]["stderr"]
    assert (told["run"]["stdout"], told["run"]["stderr"]) == ("ran\n", "")
    assert (told["run"]["code"], told["run"]["status"]) == (4, "RE")
    assert told["run"]["message"] == "Exited with error status 4"
    told = await execute(facades, language="c", version="*", **source("int main(void) { return x; }"))
    assert told["compile"]["code"] == 1
    assert "undeclared" in told["compile"]["stderr"]
    assert told["run"] == told["compile"]  # as Piston has it for older clients
    told = await execute(
        facades, language="gcc", version="*", **source("int main(void) { *(volatile int *)0 = 1; }")
    )
    assert (told["run"]["signal"], told["run"]["code"], told["run"]["status"]) == ("SIGSEGV", None, "SG")


@pytest.mark.long
async def test_limits(facades: Server):
    told = await execute(
        facades, **source("import time; print('up', flush=True); time.sleep(60)"), run_timeout=700
    )
    assert (told["run"]["status"], told["run"]["signal"], told["run"]["code"]) == ("TO", "SIGKILL", None)
    assert told["run"]["stdout"] == "up\n"
    spin = '#include <unistd.h>\nint main(void) { write(1, "up\\n", 3); for (;;) sleep(1); }'
    told = await execute(facades, language="c", version="*", **source(spin), run_timeout=500)
    assert (told["compile"]["code"], told["run"]["status"], told["run"]["stdout"]) == (0, "TO", "up\n")
    told = await execute(facades, **source("while True: print('x' * 99)"))
    assert (told["run"]["status"], told["run"]["message"]) == ("OL", "stdout length exceeded")
    assert len(told["run"]["stdout"]) == 1024
    told = await execute(facades, **source("import sys\nprint('x' * 2000, file=sys.stderr)"))
    assert (told["run"]["status"], len(told["run"]["stderr"])) == ("EL", 1024)


REFUSED = [
    ({"version": "*"}, "language is required as a string"),
    ({"language": 1, "version": "*"}, "language is required as a string"),
    ({"language": "python"}, "version is required as a string"),
    ({"language": "python", "version": "*"}, "files is required as an array"),
    ({"language": "python", "version": "*", "files": {}}, "files is required as an array"),
    (
        {"language": "python", "version": "*", "files": [{"name": "a"}]},
        "files[0].content is required as a string",
    ),
    ({"language": "python", "version": "*", "files": [None]}, "files[0].content is required as a string"),
    ({"language": "python", "version": "99.0.0", **source("")}, "python-99.0.0 runtime is unknown"),
    ({"language": "rust", "version": "1.68.2", **source("")}, "rust-1.68.2 runtime is unknown"),
    ({**PYTHON, "files": []}, "files must include at least one utf8 encoded file"),
    ({**PYTHON, **source("aGk=", encoding="base64")}, "files must include at least one utf8 encoded file"),
    ({**PYTHON, **source(""), "run_timeout": "1"}, "If specified, run_timeout must be a number"),
    ({**PYTHON, **source(""), "run_timeout": 3001}, "run_timeout cannot exceed the configured limit of 3000"),
    ({**PYTHON, **source(""), "compile_timeout": -1}, "compile_timeout must be non-negative"),
    ({**PYTHON, **source("", name="../out.py")}, None),
    ({**PYTHON, **source(""), "args": ["\0"]}, None),
    ({**PYTHON, **source(""), "args": "text"}, "args is required as an array"),
    ([], "language is required as a string"),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
async def test_what_is_wrong_is_refused_in_its_words(facades: Server, body: Any, said: str | None):
    reply = await ask(facades, "POST", "api/v2/execute", json=body)
    assert reply.status == 400, reply.document
    assert list(reply.document) == ["message"]
    assert said is None or reply.document["message"] == said


async def test_bodies_that_are_none(facades: Server):
    for headers, status in (
        ({"Content-Type": "text/html"}, 415),
        ({"Content-Type": "application/json"}, 400),
    ):
        reply = await ask(facades, "POST", "api/v2/execute", data=b"{", headers=headers)
        assert (reply.status, list(reply.document)) == (status, ["message"])
    foreign = {"Origin": "https://elsewhere.example", "Content-Type": "text/plain"}
    reply = await ask(
        facades, "POST", "api/v2/execute", data=json.dumps({**PYTHON, **source("")}), headers=foreign
    )
    assert reply.status == 403


@pytest.mark.long
async def test_a_server_without_facades_has_none_of_their_addresses(server: Server):
    for path in ("api/v2/runtimes", "statuses", "jobe/index.php/restapi/languages"):
        async with http() as client, client.get(server.url + path) as answer:
            assert answer.status == 404


# --- the WebSocket --------------------------------------------------------------------------------------


async def talk(server: Server, *messages: Any, until: str = "") -> tuple[list[dict[str, Any]], int | None]:
    """Sends messages, the ones after the first when `until` was printed.

    Returns what comes back, and the close code."""
    heard: list[dict[str, Any]] = []
    async with http() as client, client.ws_connect(server.url + "api/v2/connect") as socket:
        waiting = list(messages)
        if waiting:
            await socket.send_str(json.dumps(waiting.pop(0)))
        async for frame in socket:
            assert frame.type is aiohttp.WSMsgType.TEXT
            heard.append(json.loads(frame.data))
            if waiting and until in printed(heard):
                for message in waiting:
                    await socket.send_str(json.dumps(message))
                waiting = []
        return heard, socket.close_code


def printed(heard: list[dict[str, Any]], stream: str = "stdout") -> str:
    return "".join(one["data"] for one in heard if one["type"] == "data" and one["stream"] == stream)


def init(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "init", **PYTHON, **source(text), **fields}


async def test_a_conversation(facades: Server):
    program = "print('name?', flush=True)\nprint('hello', input())\nraise SystemExit(3)"
    typed = {"type": "data", "stream": "stdin", "data": "Ada\n"}
    heard, code = await talk(facades, init(program), typed, until="name?")
    assert heard[0] == {"type": "runtime", "language": "python", "version": "3.13.0"}
    assert heard[1] == {"type": "stage", "stage": "run"}
    assert printed(heard) == "name?\nhello Ada\n"
    assert heard[-1] == {"type": "exit", "stage": "run", "code": 3, "signal": None}
    assert code == 4999


@pytest.mark.long
async def test_stages_of_a_compiled_program_and_a_signal(facades: Server):
    program = (
        '#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts("up"); fflush(stdout); pause(); }'
    )
    stop = {"type": "signal", "signal": "SIGTERM"}
    heard, code = await talk(facades, init(program, language="c", version="*"), stop, until="up")
    ends = [one for one in heard if one["type"] != "data"]
    assert ends == [
        {"type": "runtime", "language": "c", "version": "14.2.0"},
        {"type": "stage", "stage": "compile"},
        {"type": "exit", "stage": "compile", "code": 0, "signal": None},
        {"type": "stage", "stage": "run"},
        {"type": "exit", "stage": "run", "code": None, "signal": "SIGTERM"},
    ]
    assert code == 4999
    heard, code = await talk(facades, init("int main(void) { return x; }", language="c", version="*"))
    assert "undeclared" in printed(heard, "stderr")
    assert heard[-1] == {"type": "exit", "stage": "compile", "code": 1, "signal": None}


@pytest.mark.long
async def test_what_is_wrong_closes_with_its_code(facades: Server):
    sleeping = init("print('up', flush=True)\nimport time\ntime.sleep(60)")
    cases: list[tuple[tuple[Any, ...], int]] = [
        ((), 4001),
        (({"type": "data", "stream": "stdin", "data": ""},), 4003),
        (({"type": "signal", "signal": "SIGTERM"},), 4003),
        ((sleeping, sleeping), 4000),
        ((sleeping, {"type": "data", "stream": "stdout", "data": ""}), 4004),
        ((sleeping, {"type": "signal", "signal": "SIGNOTHING"}), 4005),
    ]
    for messages, expected in cases:
        _, code = await talk(facades, *messages, until="up")
        assert code == expected, messages
    heard, code = await talk(facades, {"type": "init", "language": "python"})
    assert (heard, code) == ([{"type": "error", "message": "version is required as a string"}], 4002)


async def test_messages_may_be_binary_and_too_large_is_said(facades: Server):
    async with http() as client, client.ws_connect(facades.url + "api/v2/connect") as socket:
        await socket.send_bytes(json.dumps(init("print('up')")).encode())
        heard = [json.loads(frame.data) async for frame in socket]
    assert (printed(heard), socket.close_code) == ("up\n", 4999)
    async with http() as client, client.ws_connect(facades.url + "api/v2/connect") as socket:
        await socket.send_bytes(b"\xff")
        heard = [json.loads(frame.data) async for frame in socket]
    assert (heard, socket.close_code) == ([{"type": "error", "message": "a message must be JSON"}], 4002)
    # The head of a frame alone: what comes behind it would be in the way of the answer.
    async with raw.connect(facades.url) as one:
        await one.send(raw.request(facades.url, "api/v2/connect", {"Sec-WebSocket-Protocol": ""}))
        assert await one.status() == 101
        await one.send(b"\x82\xff" + struct.pack(">Q", MAX_BODY + 1) + b"mask")
        assert f"at most {MAX_BODY} bytes" in json.loads(await one.until(b"error"))["message"]
        assert await one.close_code() == 4002


async def test_a_client_that_goes_away_ends_its_program(facades: Server):
    async with http() as client, client.ws_connect(facades.url + "api/v2/connect") as socket:
        await socket.send_str(json.dumps(init("print('up', flush=True)\nimport time\ntime.sleep(60)")))
        async for frame in socket:
            if json.loads(frame.data).get("data") == "up\n":
                break
        assert facades.stats()["queue"]["active"] >= 1
    await idle(facades)


# --- its clients ----------------------------------------------------------------------------------------

ULTRA = """
import sys, ultra_piston
client = ultra_piston.PistonClient(base_url=sys.argv[1], rate_limit=0)
names = [one.language for one in client.get_runtimes()]
assert names == ["c", "python"], names
file = ultra_piston.File(name="a.py", content="print(input()[::-1])")
told = client.post_execute("python", "3.10.0", file, stdin="abc")
assert (told.run.stdout, told.run.code, told.version) == ("cba\\n", 0, "3.13.0"), told
try:
    client.post_execute("klingon", "1", ultra_piston.File(content=""))
except ultra_piston.errors.BadRequestError:
    print("as it should be")
"""


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["api/v2", "api/v2/piston"])
def test_its_client_in_python(facades: Server, clients: Path, prefix: str):
    done = subprocess.run(
        [clients, "-c", ULTRA, facades.url + prefix], capture_output=True, text=True, timeout=50
    )
    assert (done.stdout, done.returncode) == ("as it should be\n", 0), done.stderr


NODE = """
import piston from "piston-client";
const client = piston({ server: process.argv[1] });
const names = (await client.runtimes()).map((one) => one.language);
const told = await client.execute("python", "import sys; print(sys.argv[1:])");
console.log(JSON.stringify([names, told.run.stdout, told.run.code]));
"""


def test_its_client_in_javascript(facades: Server):
    words = ["node", "--input-type=module", "-e", NODE, facades.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["c", "python"], "['1', '2', '3']\n", 0]


async def test_it_leaves_nothing(facades: Server):
    await eventually(lambda: facades.stats()["queue"]["active"] == 0, 20, "all slots given back")
