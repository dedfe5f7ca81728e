"""Host names that programs look up without a network: their own, and localhost with all its addresses."""

from __future__ import annotations

import pytest

from tests.harness import SLOWNESS, session

OWN = {
    ("python", "main.py"): (
        "import socket\nname = socket.gethostname()\nprint(socket.gethostbyname(name), socket.getfqdn())"
    ),
    ("javascript", "main.js"): (
        "require('dns').lookup(require('os').hostname(), {family: 4}, (e, a) => console.log(a, 'coderunner'))"
    ),
    ("bash", "main.sh"): "echo $(getent hosts $(hostname) | cut -d' ' -f1) $(hostname -f)",
    ("c", "main.c"): """#include <netdb.h>
#include <stdio.h>
#include <unistd.h>
#include <arpa/inet.h>
int gethostname(char *, size_t);
int main(void) {
    char name[64];
    gethostname(name, 64);
    struct hostent *e = gethostbyname(name);
    if (!e) return 1;
    printf("%s %s\\n", inet_ntoa(*(struct in_addr *)e->h_addr_list[0]), e->h_name);
}
""",
}
LOCALHOST = """import asyncio, socket
async def main():
    await asyncio.start_server(lambda r, w: w.write(b'hello') or w.close(), 'localhost', 8765)
    for address in sorted({one[4][0] for one in socket.getaddrinfo('localhost', 8765)}):
        reader, writer = await asyncio.open_connection(address, 8765)
        print(address, (await reader.read()).decode())
        writer.close()
asyncio.run(main())
"""


class TestNames:
    @pytest.mark.parametrize(("language", "entry"), OWN)
    async def test_a_programs_own_name_has_an_address(self, server, language, entry):
        async with session(server, language) as client:
            channel = await client.result(1, OWN[language, entry], entry=entry)
            assert channel.text == "127.0.1.1 coderunner\n"
            # A name server that is asked in vain takes 5 s.
            assert channel.exit.usage.wall_ms < 4500 * SLOWNESS

    async def test_localhost_works_at_all_its_addresses(self, server):
        async with session(server) as client:
            assert (await client.result(1, LOCALHOST)).text == "127.0.0.1 hello\n::1 hello\n"
