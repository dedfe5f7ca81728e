"""Permissions that a program has removed in the workspace do not hinder its owner."""

from __future__ import annotations

import pytest

from coderunner.client.rest import Rest
from coderunner.schema import messages as m
from tests.harness import session

LOCKED = {
    "the workspace without any": "os.chmod('/workspace', 0)",
    "the workspace read-only": "os.chmod('/workspace', 0o555)",
    "the workspace without x": "os.chmod('/workspace', 0o666)",
    "our own folders without any": "os.mkdir('.build'); [os.chmod(p, 0) for p in ('.build', '.tmp')]",
    "the program itself": "os.chmod('main.py', 0)",
    "a folder and its file": "os.chmod('sub/made', 0); os.chmod('sub', 0)",
    "a folder read-only": "os.chmod('sub', 0o500)",
    "all of it": "[os.chmod(p, 0) for p in ('sub/made', 'sub', 'main.py', '.tmp', '/workspace')]",
}
MAKE = "import os,sys\nif len(sys.argv) > 1: sys.exit(print(sys.argv[1]))\n"
MAKE += "os.makedirs('sub', exist_ok=True)\nopen('sub/made', 'w').write('made')\n"


async def rest(server, client, *words):
    return await Rest(server.url, client.opened)(*words)


@pytest.mark.parametrize("what", LOCKED)
async def test_the_next_run_the_shell_and_the_files_are_as_before(server, what):
    async with session(server) as client:
        await client.result(1, MAKE + LOCKED[what])
        # Nothing is sent anew, as the page does it with what has not changed.
        await client.send(m.Run(2, "pipe", args=("again",)))
        assert (await client.ended(2)).text == "again\n"
        listed = await rest(server, client, "GET", "/files")
        assert {"main.py", "sub", "sub/made"} <= {one["path"] for one in listed.document["files"]}
        assert (await rest(server, client, "GET", "/files/sub/made")).body == b"made"
        await client.send(m.Shell(3, 80, 24))
        await client.until(3, "$ ")
        await client.input(3, b"stat -c %a sub; touch new && echo do''ne\n")
        await client.until(3, "done")
        if "all" in what or what == "a folder and its file":
            assert "\r0\r\n" in client.channel(3).text  # reading changed nothing
        assert (await rest(server, client, "PUT", "/files/sub/new", b"x")).code == "200"
        assert (await rest(server, client, "DELETE", "/files/sub")).code == "200"
        assert (await client.result(4, "print(open('new').read())")).exit.code == 0


async def test_files_are_written_into_a_locked_workspace(server):
    async with session(server) as client:
        await client.result(1, MAKE + "os.chmod('sub', 0); os.chmod('/workspace', 0)")
        files = (m.File("main.py", b"import sub.more"), m.File("sub/more.py", b"print('read')"))
        await client.send(m.Run(2, "pipe", files=files))
        assert (await client.ended(2)).text == "read\n"


async def test_a_compiler_that_locks_the_workspace(server):
    makefile = b"prog: main.c\n\tgcc -o prog main.c\n\tchmod 0 .build .\n"
    files = (m.File("Makefile", makefile), m.File("main.c", b'int puts(); int main() { puts("ran"); }'))
    async with session(server, "c") as client:
        await client.send(m.Run(1, "pipe", files=files, entry="main.c"))
        assert (await client.ended(1)).text.endswith("ran\n")


async def test_what_is_in_the_way_of_a_folder_is_put_beside(server):
    """Without the folder neither a program nor a shell would start with which it could be removed."""
    spoil = (
        "import os, shutil\nfor name in ('.tmp', '.build'): shutil.rmtree(name, ignore_errors=True)\n"
        "open('.tmp', 'w').write('mine')\nos.symlink('/nowhere', '.build')"
    )
    async with session(server) as client:
        assert (await client.result(1, spoil)).exit.code == 0
        for number, mode in ((2, "pipe"), (3, "tty")):
            await client.send(m.Run(number, mode))
            assert (await client.ended(number)).exit.code == 0
        await client.send(m.Shell(4, 80, 24))
        await client.until(4, "$")
        look = "import os; print(open('.tmp~').read(), os.path.isdir('.tmp'), os.path.isdir('.build'))"
        assert (await client.result(5, look)).text == "mine True True\n"


async def test_what_cannot_be_put_beside_is_named(server):
    async with session(server) as client:
        spoil = "import os, shutil\nshutil.rmtree('.tmp')\nopen('.tmp', 'w')\nos.mkdir('.tmp~')"
        await client.result(1, spoil)
        for number, mode in ((2, "pipe"), (3, "tty")):
            await client.send(m.Run(number, mode))
            channel = await client.ended(number)
            assert channel.exit.code == 126
            end = "\r\n" if mode == "tty" else "\n"
            assert channel.text.startswith("/workspace/.tmp: ")
            assert channel.text.endswith(f"; programs need this folder{end}")


async def test_what_compilers_and_services_keep_is_theirs_again(server):
    """One folder has the cache of Go's compiler, the other the sockets of databases."""
    lock = (
        "import os\nfor name in ('.cache', '.service'):\n"
        "    os.makedirs(f'{name}/kept', exist_ok=True)\n    os.symlink('/', f'{name}/link')\n"
        "    open(f'{name}/file', 'w').close()\n"
        "    for place in (f'{name}/kept', f'{name}/file', name): os.chmod(place, 0)\n"
    )
    look = "for name in ('.cache', '.service'): open(f'{name}/kept/new', 'w').close()\nprint('made')"
    async with session(server) as client:
        assert (await client.result(1, lock)).exit.code == 0
        assert (await client.result(2, look)).text == "made\n"
