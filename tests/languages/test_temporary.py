"""What is in a language's own folder of temporary files can be loaded: native libraries, which packages take
out of themselves to load them (as Java's of SQLite does). That scripts run is a check of `languages test`.

And what all images have in common: locales, and no link that leads nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from coderunner import declarations
from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.harness import ROOT, Server, docker, session

NATIVE = tomllib.loads((Path(__file__).parent / "native.toml").read_text("utf-8"))

# For all of them, without any one's headers: what they call has C's conventions and may leave its arguments
# alone. What is returned says that all is well: 0, to Node.js the exports, to Java a version of JNI.
LIBRARY = """
long write(int, const void *, unsigned long);
static void say(void) { if (write(1, "it runs\\n", 8) < 0) return; }
int coderunner_answer(void) { say(); return 0; }
int JNI_OnLoad(void *machine, void *reserved) { (void)machine; (void)reserved; say(); return 0x10008; }
int Java_Main_answer(void *env, void *self) { (void)env; (void)self; return 42; }
int luaopen_native(void *state) { (void)state; say(); return 0; }
int Native_Init(void *interpreter) { (void)interpreter; say(); return 0; }
void install(void) { say(); }
void *napi_register_module_v1(void *env, void *exports) { (void)env; say(); return exports; }
"""
BUILD = f"""
#include <stdio.h>
#include <stdlib.h>
int main(void) {{ FILE *file = fopen("native.c", "w"); fputs({json.dumps(LIBRARY)}, file); fclose(file);
  return system("gcc -shared -fPIC -O2 -o native.so native.c"); }}
"""

NAMES = """
de_DE.UTF-8 de_DE.utf8 en_US.UTF-8 en_GB.UTF-8 fr_FR.UTF-8 es_ES.UTF-8 it_IT.UTF-8 pt_BR.UTF-8 tr_TR.UTF-8
pl_PL.UTF-8 ru_RU.UTF-8 ja_JP.UTF-8 ko_KR.UTF-8 zh_CN.UTF-8 zh_TW.UTF-8 hi_IN.UTF-8 vi_VN.UTF-8 th_TH.UTF-8
ar_SA.UTF-8 he_IL.UTF-8 C.UTF-8 de_DE en_US
"""
LOCALES = f'''
import locale
for name in """{NAMES}""".split():
    locale.setlocale(locale.LC_ALL, name)
locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
print(locale.format_string("%.2f", 1234567.891, grouping=True))
'''

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def library(everything: Server) -> bytes:
    """Made by the C of the server itself."""

    async def made() -> bytes:
        async with session(everything, "c") as client:
            channel = await client.result(1, BUILD, 90, entry="main.c")
            assert channel.exit.code == 0, channel.text
            answer = await Rest(everything.url, client.opened)("GET", "/files/native.so")
            return answer.body

    return asyncio.run(made())


@pytest.mark.parametrize("name", NATIVE)
async def test_a_temporary_native_library_is_loaded(everything: Server, library: bytes, name: str) -> None:
    program = NATIVE[name]
    files = (m.File("native.so", library), m.File(program["entry"], program["code"].lstrip().encode()))
    async with session(everything, name) as client:
        await client.send(m.Run(1, "pipe", entry=program["entry"], files=files))
        channel = await client.ended(1, 90)
        assert channel.stdout == b"it runs\n", channel.text


SHELLS = {
    "java": """echo 'void main() { IO.println(System.getProperty("java.io.tmpdir")); }' > A.java; java A.java
echo 'System.out.println(System.getProperty("java.io.tmpdir"))' | jshell -s -""",
    "clojure": """echo '(println (System/getProperty "java.io.tmpdir"))' > a.clj; clojure a.clj
clojure < a.clj""",
}


@pytest.mark.parametrize("name", SHELLS)
async def test_a_plain_java_has_the_same_folder(everything: Server, name: str) -> None:
    """By hand in a shell, and of the language's own prompt."""
    async with session(everything, name) as client:
        await client.send(m.Shell(1, 200, 24))
        await client.until(1, "$ ")
        await client.input(1, SHELLS[name].encode() + b"; echo do''ne\n")
        await client.until(1, "\ndone", 60)
        assert client.channel(1).text.count("/workspace/.tmp\r\n") == 2, client.channel(1).text


async def test_the_folders_of_the_system_run_programs(everything: Server) -> None:
    code = "for d in /tmp $TMPDIR; do cp /bin/echo $d/x; $d/x $d; done"
    async with session(everything, "bash") as client:
        channel = await client.result(1, code, entry="main.sh")
        assert channel.text == "/tmp\n/workspace/.tmp\n"


async def test_the_locales_that_programs_ask_for_are_there(everything: Server) -> None:
    async with session(everything, "python") as client:
        channel = await client.result(1, LOCALES)
        assert channel.text == "1.234.567,89\n"


@pytest.fixture(scope="module")
def images(everything: Server) -> dict[str, str]:
    """The image of each language, as the running server has it."""
    command = ["-m", "coderunner", "--env-file", "/dev/null", "images", "list"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT / "server", env={**os.environ, "LANGUAGES": ""},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    names = [line.split()[0] for line in done.stdout.splitlines() if line]
    return {name.partition("/")[2].partition(":")[0]: name for name in names}


@pytest.mark.parametrize("name", declarations.load().languages)
def test_no_link_leads_nowhere(images: dict[str, str], name: str) -> None:
    look = ["find", "/", "-xdev", "-xtype", "l"]
    found = docker("run", "--rm", "--network", "none", "--entrypoint", "", images[name], *look)
    assert found == ""
