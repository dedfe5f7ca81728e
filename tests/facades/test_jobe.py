"""Jobe's interface: requests like those of its own test program, its refusals, its files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from coderunner.facades import jobe, jobe_files
from coderunner.facades.jobe_files import Cache
from coderunner.fleet.registry import Caller
from tests.harness import Server
from tests.web.ordering import Reply, ask, http

API = "jobe/index.php/restapi"


async def submit(server: Server, **spec: Any) -> Reply:
    body = {"run_spec": {"language_id": "python3", "sourcefilename": "test.py", **spec}}
    return await ask(server, "POST", f"{API}/runs", json=body)


async def put(server: Server, name: str, data: bytes) -> int:
    body = {"file_contents": base64.b64encode(data).decode()}
    return (await ask(server, "PUT", f"{API}/files/{name}", json=body)).status


async def has(server: Server, name: str) -> int:
    async with http() as client, client.head(f"{server.url}{API}/files/{name}") as answer:
        return answer.status


GOOD = '#include <stdio.h>\nint main() {\n    printf("Hello world\\nIsn\'t this fun!\\n");\n}\n'
OUTCOMES = [
    ({"sourcecode": 'print("Hello world!")\n'}, 15, "Hello world!\n"),
    ({"sourcecode": "print(input())\nprint(input())\n", "input": "Line1\nLine2\n"}, 15, "Line1\nLine2\n"),
    ({"sourcecode": 'print("Hello world!"\n'}, 11, ""),
    ({"sourcecode": "if True:\nprint(1)\n"}, 11, ""),
    ({"sourcecode": "data = [1, 2]\nprint(data[2])\n"}, 12, ""),
    ({"sourcecode": "compile('(', 'inner', 'exec')"}, 12, ""),  # a fault of the run, not of the source
    (
        {"sourcecode": "import sys\nprint(sys.argv[1:])", "parameters": {"runargs": ["Arg1", "'Arg 2'"]}},
        15,
        "['Arg1', 'Arg 2']\n",
    ),
    ({"sourcecode": "while True: pass", "parameters": {"cputime": 1}}, 13, ""),
    ({"sourcecode": 'print("Un rôle délétère")'}, 15, "Un rôle délétère\n"),
    ({"sourcecode": "import sys\nsys.stdout.buffer.write(b'\\xff\\n')"}, 15, "\\xff\n"),
    ({"sourcecode": "raise SystemExit(3)"}, 15, ""),  # Jobe looks at the errors, not at the code
    ({"sourcecode": "x = b'1' * 300_000_000", "parameters": {"memorylimit": 100}}, 17, ""),
    (
        {"language_id": "c", "sourcefilename": "prog.c", "sourcecode": GOOD},
        15,
        "Hello world\nIsn't this fun!\n",
    ),
    ({"language_id": "c", "sourcefilename": "prog.c", "sourcecode": GOOD.replace(";", "")}, 11, ""),
    ({"language_id": "c", "sourcecode": "int main() { int unused; }"}, 11, ""),  # -Wall -Werror
    (
        {
            "language_id": "c",
            "sourcecode": "int main() { int unused; }",
            "parameters": {"compileargs": ["-w"]},
        },
        15,
        "",
    ),
    ({"language_id": "c", "sourcecode": GOOD, "parameters": {"compileargs": ["std=c89"]}}, 11, ""),
    (
        {
            "language_id": "c",
            "sourcecode": "#include <math.h>\n#include <stdio.h>\nint main(int n, char** v) {"
            ' printf("%.1f\\n", pow(2, n)); }',
            "parameters": {"linkargs": ["-lm"]},
        },
        15,
        "2.0\n",
    ),
    ({"language_id": "c", "sourcecode": "int main() { *(volatile int*)0 = 1; }"}, 12, ""),
]


@pytest.mark.long
@pytest.mark.parametrize(("spec", "outcome", "stdout"), OUTCOMES)
async def test_outcomes(facades: Server, spec: dict[str, Any], outcome: int, stdout: str):
    reply = await submit(facades, **spec)
    told = reply.document
    assert reply.status == 200
    assert set(told) == {"run_id", "outcome", "cmpinfo", "stdout", "stderr"}
    assert told["outcome"] == outcome, told
    assert outcome in (13, 17) or told["stdout"] == stdout, told
    assert bool(told["cmpinfo"]) is (outcome == 11), told


async def test_the_languages(facades: Server):
    reply = await ask(facades, "GET", f"{API}/languages")
    assert (reply.status, reply.document) == (200, [["c", "14.2.0"], ["python3", "3.13"]])


async def test_files_go_before_the_runs_that_use_them(facades: Server):
    spec = {
        "sourcecode": "print(open('file1').read())\nprint(open('file2.txt').read())\n",
        "file_list": [["randomid0129798", "file1"], ["randomid0980128", "file2.txt"]],
    }
    assert await has(facades, "randomid0129798") == 404
    reply = await submit(facades, **spec)
    assert reply.status == 404
    assert "missing" in reply.document
    assert await put(facades, "randomid0129798", b"The first file\nLine 2") == 204
    assert await put(facades, "randomid0980128", b"Second file") == 204
    assert await has(facades, "randomid0129798") == 204
    reply = await submit(facades, **spec)
    assert reply.document["stdout"] == "The first file\nLine 2\nSecond file\n"


REFUSED = [
    (None, "Non-JSON post data received"),
    ({}, "No run_spec attribute found in post data"),
    ({"run_spec": {"language_id": "c"}}, "run_spec is missing the required attribute 'sourcecode'"),
    ({"run_spec": {"sourcecode": ""}}, "run_spec is missing the required attribute 'language_id'"),
    ({"run_spec": {"sourcecode": "", "language_id": "Klingon"}}, "Language 'klingon' is not known"),
    (
        {"run_spec": {"sourcecode": "", "language_id": "c", "sourcefilename": "../prog.c"}},
        "The sourcefilename for the run_spec is illegal",
    ),
    (
        {"run_spec": {"sourcecode": "", "language_id": "c", "parameters": {"cputime": 121}}},
        "cputime exceeds maximum allowed on this Jobe server (120 secs)",
    ),
    (
        {"run_spec": {"sourcecode": "", "language_id": "python3", "parameters": {"interpreterargs": ["-O"]}}},
        "This server cannot set interpreterargs for python3",
    ),
    ({"run_spec": {"sourcecode": "", "language_id": "c", "file_list": [["short", "a"]]}}, None),
    ({"run_spec": {"sourcecode": "", "language_id": "c", "file_list": [["randomid0129798", "../a"]]}}, None),
    ({"run_spec": {"sourcecode": "", "language_id": "c", "file_list": "x"}}, None),
    (
        {"run_spec": {"sourcecode": "", "language_id": "python3", "parameters": {"runargs": ["a" * 2**20]}}},
        "The parameter runargs has more than 32768 characters",
    ),
]


@pytest.mark.parametrize(("body", "said"), REFUSED)
async def test_what_is_wrong_is_refused_in_its_words(facades: Server, body: Any, said: str | None):
    reply = await ask(facades, "POST", f"{API}/runs", json=body)
    assert reply.status == 400
    assert said is None or reply.document == said


def test_the_name_of_a_class_is_found_in_any_source():
    """Whoever sends a source with many classes and no brace holds nobody up: that took minutes."""
    pattern = next(one.named_by for one in jobe.table().languages if one.named_by)
    known = replace(jobe.table().languages[0], file="prog.java", named_by=pattern)
    many = "public class Much\n" * 400_000
    assert jobe.entry_of({}, known, many) == "prog.java"
    assert jobe.entry_of({}, known, "import x;\npublic class Good extends A\n{ }\n" + many) == "Good.java"


async def test_files_that_are_none(facades: Server):
    for body, said in (
        ({}, "put: missing file_contents parameter"),
        ({"file_contents": "not base64!"}, "put: contents of file someid0000 are not valid base-64"),
    ):
        reply = await ask(facades, "PUT", f"{API}/files/someid0000", json=body)
        assert (reply.status, reply.document) == (400, said)
    assert await put(facades, "someid0000", b"x" * (jobe_files.MAX_FILE + 1)) == 413


def test_the_files_keep_their_bound_and_their_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobe_files, "MAX_OF_ONE", 3 * jobe_files.COST)
    one, other = Caller("192.0.2.1"), Caller("192.0.2.2")
    cache = Cache(tmp_path / "files")
    for name in "abc":
        cache.put(one, name, name.encode())
    assert cache.get(one, "a") == b"a"  # so that b is the least recently used
    cache.put(one, "d", b"d")
    assert [cache.has(one, name) for name in "abcd"] == [True, False, True, True]
    assert not cache.has(other, "a")
    cache.put(other, "a", b"another")
    assert cache.get(one, "a") == b"a"
    again = Cache(tmp_path / "files")  # the next server's
    assert (again.get(one, "a"), again.get(other, "a"), again.get(one, "b")) == (b"a", b"another", None)
    assert not list((tmp_path / "files").glob("*.new"))
