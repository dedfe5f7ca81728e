"""Judge0's interface: the requests of its documentation, statuses, batches, keys, its client."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request

from coderunner.facades import judge0
from coderunner.web.replies import shown
from tests.facades.conftest import SETTINGS
from tests.harness import Server, eventually, running_server
from tests.web.ordering import Reply, again, ask, slots_given

HELLO = '#include <stdio.h>\n\nint main(void) {\n  char name[10];\n  scanf("%s", name);\n  printf("hello, %s\\n", name);\n  return 0;\n}'  # noqa: E501
PYTHON, C = 71, 50


async def submit(server: Server, query: str = "wait=true", **fields: Any) -> Any:
    reply = await ask(server, "POST", f"submissions?{query}", json={"language_id": PYTHON, **fields})
    assert reply.status == 201, reply.document
    return reply.document


async def done(server: Server, token: str, query: str = "", **fields: Any) -> Any:
    """A submission that has ended."""

    async def look() -> Any:
        reply = await ask(server, "GET", f"submissions/{token}?{query}", **fields)
        assert reply.status == 200, reply.document
        return reply.document if reply.document["status"]["id"] > 2 else None

    return await eventually(look, 40, "the submission's end")


async def test_the_documentations_example(facades: Server):
    told = await submit(
        facades, source_code=HELLO, language_id=str(C), stdin="Judge0", expected_output="hello, Judge0"
    )
    assert set(told) == {
        "stdout", "time", "memory", "stderr", "token", "compile_output", "message", "status"
    }  # fmt: skip
    assert told["status"] == {"id": 3, "description": "Accepted"}
    assert (told["stdout"], told["stderr"], told["compile_output"]) == ("hello, Judge0\n", None, None)
    assert (float(told["time"]) < 1, told["memory"] > 100) == (True, True)


async def test_a_token_and_what_is_asked_of_it(facades: Server):
    encoded = base64.b64encode(b"print('gr\xc3\xbc\xc3\x9fe', input() * 20)").decode()
    word = base64.b64encode(b"abc").decode()
    told = await submit(facades, "base64_encoded=true", source_code=encoded, stdin=word)
    assert list(told) == ["token"]
    seen = await done(facades, told["token"], "fields=stdout,status,language_id,status_id")
    assert seen["stdout"] == "grüße " + "abc" * 20 + "\n"
    assert (seen["language_id"], seen["status_id"]) == (PYTHON, 3)
    seen = await done(facades, told["token"], "fields=*&base64_encoded=true")
    assert base64.b64decode(seen["source_code"]) == base64.b64decode(encoded)
    assert (base64.b64decode(seen["stdin"]), seen["exit_code"], seen["exit_signal"]) == (b"abc", 0, None)
    assert seen["stdout"].endswith("\n")
    assert max(len(line) for line in seen["stdout"].splitlines()) == 60
    assert seen["language"] == {"id": PYTHON, "name": "Python (3.13)"}
    assert seen["finished_at"] > seen["created_at"]
    assert (await ask(facades, "GET", "submissions/none")).status == 404
    reply = await ask(facades, "GET", f"submissions/{told['token']}?fields=status,nothing,more")
    assert (reply.status, reply.document) == (400, {"error": "invalid fields: [nothing, more]"})


STATUSES = [
    ({"source_code": "print(1)", "expected_output": "1  \n\n"}, 3, None),
    ({"source_code": "print(1)", "expected_output": "2"}, 4, None),
    (
        {"source_code": "import time; time.sleep(30)", "wall_time_limit": 1},
        5,
        "Time limit exceeded",
    ),
    (
        {"source_code": "while True: pass", "cpu_time_limit": 0.5, "cpu_extra_time": 0},
        5,
        "Time limit exceeded",
    ),
    ({"source_code": "int main(void) { return x; }", "language_id": C}, 6, None),
    (
        {"source_code": "int main(void) { *(volatile int *)0 = 1; }", "language_id": C},
        7,
        "Caught fatal signal 11",
    ),
    ({"source_code": "import os\nos.kill(os.getpid(), 8)"}, 9, "Caught fatal signal 8"),
    ({"source_code": "import os\nos.abort()"}, 10, "Caught fatal signal 6"),
    ({"source_code": "raise SystemExit(3)"}, 11, "Exited with error status 3"),
    ({"source_code": "import os\nos.kill(os.getpid(), 15)"}, 12, "Caught fatal signal 15"),
    ({"source_code": "print('x' * 9000)", "max_file_size": 4}, 8, "Caught fatal signal 25"),
]


@pytest.mark.long
@pytest.mark.parametrize(("fields", "status", "message"), STATUSES)
async def test_statuses(facades: Server, fields: dict[str, Any], status: int, message: str | None):
    told = await submit(facades, **fields)
    # On a busy machine either clock is first.
    said = told["message"] and told["message"].removesuffix(" (wall clock)")
    assert (told["status"]["id"], said) == (status, message), told
    if status == 6:
        assert "undeclared" in told["compile_output"]
        assert told["stdout"] is told["time"] is None


REFUSED = [
    ({"source_code": HELLO}, {"language_id": ["can't be blank"]}),
    ({"language_id": PYTHON}, {"source_code": ["can't be blank"]}),
    ({"language_id": PYTHON, "source_code": ""}, {"source_code": ["can't be blank"]}),
    ({"source_code": "x", "language_id": 150000}, {"language_id": ["language with id 150000 doesn't exist"]}),
    ({"source_code": "x", "language_id": "²"}, {"language_id": ["language with id ² doesn't exist"]}),
    (
        {"source_code": "x", "language_id": C, "wall_time_limit": 100000},
        {"wall_time_limit": ["must be less than or equal to 20"]},
    ),
    (
        {
            "source_code": "x",
            "language_id": C,
            "number_of_runs": 0,
            "cpu_time_limit": "much",
            "memory_limit": 1,
        },
        {
            "number_of_runs": ["must be greater than 0"],
            "cpu_time_limit": ["is not a number"],
            "memory_limit": ["must be greater than or equal to 2048"],
        },
    ),
    (
        {"source_code": "x", "language_id": C, "callback_url": "http://127.0.0.1/"},
        {"callback_url": ["setting callback is not allowed"]},
    ),
    (
        {"source_code": "x", "language_id": PYTHON, "compiler_options": "-O2", "enable_network": True},
        {
            "compiler_options": ["setting compiler options is only allowed for C and C++"],
            "enable_network": ["enabling network is not allowed"],
        },
    ),
    (
        {"source_code": "x", "language_id": PYTHON, "command_line_arguments": "x" * 513},
        {"command_line_arguments": ["is too long (maximum is 512 characters)"]},
    ),
    (
        {"source_code": "x", "language_id": "9" * 5000},
        {"language_id": [f"language with id {'9' * 64} doesn't exist"]},
    ),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
async def test_what_is_wrong_is_refused_by_attribute(facades: Server, body: Any, said: Any):
    reply = await ask(facades, "POST", "submissions", json=body)
    assert (reply.status, reply.document) == (422, said)


async def test_options_and_files(facades: Server):
    program = '#include "part.h"\n#include <stdio.h>\nint main(int n, char **v)'
    program += ' { printf("%s %d %s\\n", v[1], N, PART); }'
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("part.h", '#define PART "from the zip"\n')
    told = await submit(
        facades,
        source_code=program,
        language_id=C,
        compiler_options="-DN=7 -lm",
        command_line_arguments="'a b' $HOME",
        additional_files=base64.b64encode(packed.getvalue()).decode(),
    )
    assert told["stdout"] == "a b 7 from the zip\n", told
    mixed = "import sys\nprint(1, flush=True)\nprint(2, file=sys.stderr, flush=True)"
    told = await submit(facades, source_code=mixed, redirect_stderr_to_stdout=True)
    assert (sorted(told["stdout"]), told["stderr"]) == (sorted("1\n2\n"), None)
    reply = await ask(
        facades, "POST", "submissions?wait=true", data={"source_code": "print(5)", "language_id": "71"}
    )
    assert (reply.status, reply.document["stdout"]) == (201, "5\n")


def packed(files: dict[str, str]) -> str:
    """A zip in base64."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return base64.b64encode(data.getvalue()).decode()


PROJECT = 89
SOURCES = {
    "src/part.h": '#define PART "part"\n',
    "src/main.c": '#include "part.h"\n#include <stdio.h>\nint main(void) { char b[9]; scanf("%8s", b); '
    'return printf("%s of %s\\n", PART, b) < 0; }\n',
}


async def test_a_multi_file_program(facades: Server):
    files = {**SOURCES, "compile": "echo compiling; gcc -o prog src/main.c", "run": "./prog"}
    told = await submit(
        facades, language_id=PROJECT, additional_files=packed(files), stdin="C", expected_output="part of C"
    )
    assert told["status"]["id"] == 3, told
    assert (told["stdout"], told["compile_output"]) == ("part of C\n", "compiling\n")
    files |= {"compile.sh": "gcc -Dmain=x -c src/none.c"}  # it comes before `compile`
    told = await submit(facades, language_id=PROJECT, additional_files=packed(files))
    assert (told["status"]["id"], "none.c" in told["compile_output"]) == (6, True)
    # Without anything to compile, in another language's image, which is that of most files.
    files = {"main.py": "import part", "part.py": "print(input())", "x.c": "", "run.sh": "python3 main.py"}
    told = await submit(facades, language_id=PROJECT, additional_files=packed(files), stdin="python")
    assert (told["status"]["id"], told["stdout"], told["compile_output"]) == (3, "python\n", None)
    told = await submit(facades, language_id=PROJECT, additional_files=packed({"main.py": "print(1)"}))
    assert (told["status"]["id"], "run.sh" in told["stderr"]) == (11, True)
    for fields, wrong in (
        ({"additional_files": packed(files), "source_code": "x"}, {"source_code": ["must be blank"]}),
        ({}, {"additional_files": ["can't be blank"]}),
        ({"additional_files": "AAAA"}, {"additional_files": ["must be a zip with files"]}),
    ):
        reply = await ask(facades, "POST", "submissions", json={"language_id": PROJECT, **fields})
        assert (reply.status, reply.document) == (422, wrong)
    reply = await ask(facades, "GET", f"languages/{PROJECT}")
    assert (reply.document["name"], reply.document["run_cmd"]) == ("Multi-file program", None)


# It would fail a second time where the first run has left something.
FRESH = "open('once', 'x').write('x')\nprint(sum(range(300_000)))"


async def test_a_number_of_runs(facades: Server):
    before = slots_given(facades)
    told = await submit(facades, "wait=true&fields=*", source_code=FRESH, number_of_runs=3)
    assert (told["status"]["id"], told["number_of_runs"], slots_given(facades) - before) == (3, 3, 3), told
    assert (float(told["time"]) < 5, told["memory"] > 1000) == (True, True)
    before = slots_given(facades)
    told = await submit(facades, source_code=FRESH, expected_output="1", number_of_runs=3)
    assert (told["status"]["id"], slots_given(facades) - before) == (4, 1)  # the first is the last
    # Nobody has to ask for it.
    before = slots_given(facades)
    token = (await submit(facades, "", source_code=FRESH, number_of_runs=3))["token"]
    await eventually(lambda: slots_given(facades) - before == 3, 30, "all runs")
    assert (await done(facades, token))["status"]["id"] == 3


@pytest.mark.long
async def test_the_next_server_goes_on_with_the_runs(tmp_path: Path):
    with running_server(tmp_path, **{**SETTINGS, "LANGUAGES": "python"}) as server:
        slow = f"import time\ntime.sleep(1)\n{FRESH}"
        token = (await submit(server, "", source_code=slow, number_of_runs=4))["token"]
        await eventually(lambda: slots_given(server) == 2, 30, "the second run")
        server.process.kill()
        server.process.wait()
        later = again(server, tmp_path)
        told = await done(later, token, "fields=status,stdout,time,number_of_runs")
        assert (told["status"]["id"], told["stdout"]) == (3, "44999850000\n")
        assert slots_given(server) + slots_given(later) <= 5  # none is run twice from its beginning
        assert later.stop() == 0


def test_a_token_is_not_in_the_log():
    assert shown(make_mocked_request("GET", "/submissions/secret?fields=stdout")) == "/submissions/***"
    assert shown(make_mocked_request("DELETE", "/submissions/secret/")) == "/submissions/***/"


@pytest.mark.parametrize("text", ["0" * 5000 + "1", "1" * 10, "0", "-1", "+1", "1.0", "\u0661", ""])
def test_what_is_no_number_of_a_page_is_refused(text):
    request = make_mocked_request("GET", f"/submissions?page={quote(text)}")
    with pytest.raises(judge0.Refused, match="invalid page"):
        judge0.number_of(request, "page", 1)


async def test_a_form_with_too_much_in_it_is_refused(facades: Server):
    reply = await ask(facades, "POST", "submissions", data={f"a{number}": "x" for number in range(65)})
    assert (reply.status, reply.document) == (400, {"error": "a submission has at most 64 attributes"})


async def test_what_is_no_text_has_to_be_asked_for(facades: Server):
    program = "import sys\nsys.stdout.buffer.write(b'\\xfe')"
    told = await submit(facades, source_code=program)
    assert "cannot be converted to UTF-8" in told["error"]
    reply = await ask(facades, "GET", f"submissions/{told['token']}")
    assert (reply.status, list(reply.document)) == (400, ["error"])
    seen = await done(facades, told["token"], "base64_encoded=true")
    assert base64.b64decode(seen["stdout"]) == b"\xfe"


async def test_a_batch(facades: Server):
    wanted = [
        {"language_id": PYTHON, "source_code": "print('hello')"},
        {"language_id": 123456789, "source_code": "x"},
        {"language_id": PYTHON, "source_code": ""},
    ]
    reply = await ask(facades, "POST", "submissions/batch", json={"submissions": wanted})
    assert reply.status == 201
    first, second, third = reply.document
    assert second == {"language_id": ["language with id 123456789 doesn't exist"]}
    assert third == {"source_code": ["can't be blank"]}
    await done(facades, first["token"])
    told = await ask(
        facades, "GET", f"submissions/batch?tokens={first['token']},nobody&fields=stdout,status_id"
    )
    assert told.document == {"submissions": [{"stdout": "hello\n", "status_id": 3}, None]}
    listed = {"tokens": f"nobody,{first['token']}"}
    told = await ask(facades, "GET", "submissions/batch?fields=status_id", headers=listed)
    assert told.document == {"submissions": [None, {"status_id": 3}]}
    for count, said in (
        (0, "there should be at least one submission in a batch"),
        (21, "less than or equal to 20"),
    ):
        reply = await ask(facades, "POST", "submissions/batch", json={"submissions": wanted[:1] * count})
        assert reply.status == 400
        assert said in reply.document["error"]


@pytest.mark.long
async def test_more_than_may_run_at_once_wait_for_their_turn(tmp_path: Path):
    """As Judge0's workers would do them: a caller with four slots is not refused the fifth."""
    with running_server(tmp_path, **{**SETTINGS, "LANGUAGES": "python"}, SESSIONS_PER_ADDRESS="2") as server:
        body = {"submissions": [{"language_id": PYTHON, "source_code": f"print({i})"} for i in range(8)]}
        reply = await ask(server, "POST", "submissions/batch", json=body)
        seen = [await done(server, one["token"]) for one in reply.document]
        assert [one["stdout"] for one in seen] == [f"{i}\n" for i in range(8)]


async def test_facts(facades: Server):
    names = {row["id"]: row["name"] for row in (await ask(facades, "GET", "languages")).document}
    assert (names[PYTHON], names[C]) == ("Python (3.13)", "C (GCC 14)")
    assert {row["id"] for row in (await ask(facades, "GET", "languages/all")).document} == set(names)
    told = (await ask(facades, "GET", f"languages/{C}")).document
    assert (told["source_file"], told["is_archived"]) == ("main.c", False)
    assert (await ask(facades, "GET", "languages/9999")).status == 404
    statuses = (await ask(facades, "GET", "statuses")).document
    assert [row["id"] for row in statuses] == list(range(1, 15))
    assert (await ask(facades, "GET", "about")).document["version"] == "1.13.1"
    assert (await ask(facades, "GET", "config_info")).document["enable_callbacks"] is False
    (queue,) = (await ask(facades, "GET", "workers")).document
    assert queue["available"] == queue["idle"] + queue["working"]
    assert (await ask(facades, "DELETE", "submissions/none")).status == 403


# --- keys and restarts ----------------------------------------------------------------------------------

SECRET = "a-secret-of-at-least-thirty-two-characters"


def token_of(subject: str) -> dict[str, str]:
    """The header with a token of this principal."""
    claims = {"sub": subject, "iss": "school", "aud": "here", "exp": time.time() + 86_400}
    parts = [_url(json.dumps(one).encode()) for one in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = hmac.new(SECRET.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return {"X-Auth-Token": ".".join((*parts, _url(signed)))}


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEYS = {"one": token_of("one"), "other": token_of("other")}


@pytest.mark.long
async def test_the_list_has_ones_own_submissions_in_pages(tmp_path: Path):
    settings = {**SETTINGS, "LANGUAGES": "python", "JWT_SECRET": SECRET}
    settings |= {"JWT_ISSUER": "school", "JWT_AUDIENCE": "here"}
    with running_server(tmp_path, **settings) as server:
        made = []
        for whose, text in (("one", "a"), ("other", "b"), ("one", "c"), ("one", "d")):
            body = {"language_id": PYTHON, "source_code": f"print('{text}')"}
            reply = await _asked(server, "POST", "submissions?wait=true", KEYS[whose], json=body)
            assert reply.document["stdout"] == f"{text}\n"
            made.append(reply.document["token"])

        async def page(query: str, whose: str = "one") -> Any:
            path = f"submissions?fields=token,stdout&{query}"
            return await _asked(server, "GET", path, KEYS[whose])

        first = (await page("per_page=2")).document
        assert first == {
            "submissions": [{"token": made[3], "stdout": "d\n"}, {"token": made[2], "stdout": "c\n"}],
            "meta": {
                "current_page": 1,
                "next_page": 2,
                "prev_page": None,
                "total_pages": 2,
                "total_count": 3,
            },
        }
        second = (await page("per_page=2&page=2")).document
        assert [one["token"] for one in second["submissions"]] == [made[0]]
        assert (second["meta"]["next_page"], second["meta"]["prev_page"]) == (None, 1)
        assert (await page("page=9")).document["submissions"] == []
        assert [one["token"] for one in (await page("", "other")).document["submissions"]] == [made[1]]
        for wrong in ("page=0", "page=x", "per_page=-1"):
            assert (await page(wrong)).status == 400
        assert (await ask(server, "GET", "submissions")).status == 403


@pytest.mark.long
async def test_keys_and_a_restart(tmp_path: Path):
    settings = {**SETTINGS, "LANGUAGES": "python", "ANONYMOUS": "no", "JWT_SECRET": SECRET}
    settings |= {"JWT_ISSUER": "school", "JWT_AUDIENCE": "here"}
    with running_server(tmp_path, **settings) as server:
        for headers in ({}, {"X-Auth-Token": "no-key"}):
            assert (await _asked(server, "GET", "languages", headers)).status == 401
            assert (await _asked(server, "GET", "api/v2/runtimes", {})).status == 200
        body = {"language_id": PYTHON, "source_code": "import time\ntime.sleep(3)\nprint('whole')"}
        reply = await _asked(server, "POST", "submissions", KEYS["one"], json=body)
        token = reply.document["token"]
        assert (await _asked(server, "GET", f"submissions/{token}", KEYS["other"])).status == 404

        async def begun() -> bool:
            told = await _asked(server, "GET", f"submissions/{token}", KEYS["one"])
            return bool(told.document["status"]["id"] == 2)

        await eventually(begun, 30, "its program runs")
        server.process.kill()
        server.process.wait()
        later = again(server, tmp_path)
        try:
            seen = await done(later, token, headers=KEYS["one"])
            assert seen["stdout"] == "whole\n"
            reply = await _asked(later, "DELETE", f"submissions/{token}", KEYS["one"])
            assert base64.b64decode(reply.document["stdout"]) == b"whole\n"
            assert (await _asked(later, "GET", f"submissions/{token}", KEYS["one"])).status == 404
            assert KEYS["one"]["X-Auth-Token"] not in later.log.read_text()
        finally:
            assert later.stop() == 0


async def _asked(server: Server, method: str, path: str, headers: dict[str, str], **fields: Any) -> Reply:
    return await ask(server, method, path, headers=headers, **fields)


# --- its client -----------------------------------------------------------------------------------------

SDK = """
import sys, judge0
client = judge0.Client(sys.argv[1])
one = judge0.run(client=client, source_code="print(input()[::-1])", stdin="abc", expected_output="cba",
                 language=judge0.LanguageAlias.PYTHON)
assert (one.stdout, one.status) == ("cba\\n", judge0.Status.ACCEPTED), one
cases = [judge0.TestCase(str(i), str(2 * i)) for i in range(3)]
many = judge0.run(client=client, source_code="print(2 * int(input()))", test_cases=cases,
                  language=judge0.LanguageAlias.PYTHON)
print([str(told.status) for told in many])
file = judge0.File(name="part.txt", content="from a file")
told = judge0.run(client=client, source_code="print(open('part.txt').read())", language=71,
                  additional_files=judge0.Filesystem(content=file))
print(told.stdout, told.time, told.memory > 1)
script = judge0.File(name="run.sh", content="cat part.txt")
both = judge0.Filesystem(content=[script, file])
project = judge0.Submission(language=89, source_code="", additional_files=both)
told = judge0.run(client=client, submissions=project)
print(told.stdout)
"""


@pytest.mark.long
def test_its_client(facades: Server, clients: Path):
    done = subprocess.run(
        [clients, "-c", SDK, facades.url.rstrip("/")], capture_output=True, text=True, timeout=55
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['Accepted', 'Accepted', 'Accepted']\nfrom a file\n"), done.stdout
    assert done.stdout.endswith("\nfrom a file\n"), done.stdout
