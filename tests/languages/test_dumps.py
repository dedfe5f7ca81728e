"""Dumps of databases, as large as the well-known samples, are loaded; a workspace that gets full is told."""

from __future__ import annotations

import urllib.request

import pytest

from coderunner.schema import messages as m
from tests.harness import Channel, Client, Server, session
from tests.languages import dumps

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

READ = {"sqlite": ".read dump.sql\n", "postgresql": "\\i dump.sql\n", "mariadb": "source dump.sql\n"}


def upload(server: Server, client: Client, path: str, data: bytes) -> None:
    """A file that is too large for a message."""
    request = urllib.request.Request(
        f"{server.url}api/sessions/{client.opened.session}/files/{path}", data, method="PUT",
        headers={"Authorization": f"Bearer {client.opened.token}"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200


async def run(client: Client, code: str, number: int = 1) -> Channel:
    await client.send(m.Run(number, "pipe", files=(m.File("main.sql", code.encode()),), entry="main.sql"))
    return await client.ended(number, 240)


@pytest.mark.parametrize("name", READ)
async def test_a_dump_is_loaded(everything: Server, name: str) -> None:
    text = getattr(dumps, name)()
    assert len(text) > 1_500_000
    async with session(everything, name) as client:
        upload(everything, client, "dump.sql", text.encode())
        one = await run(client, READ[name])
        assert (one.exit.code, one.exit.limits_hit) == (0, ()), one.text[-2000:]
        at = 0
        for word in dumps.SAYS:
            at = one.text.find(word, at) + 1
            assert at, f"{word}: {one.text[-2000:]}"


FULL = {
    "sqlite": "CREATE TABLE t (x);\n" + "INSERT INTO t VALUES (randomblob(1000000));\n" * 200,
    "postgresql": (
        "CREATE TABLE t (x text);\nALTER TABLE t ALTER x SET STORAGE EXTERNAL;\n"
        + "INSERT INTO t SELECT repeat('x', 1000000);\n" * 200
    ),
}


@pytest.mark.parametrize("name", FULL)
async def test_a_full_workspace_is_told(everything: Server, name: str) -> None:
    """MariaDB's is in test_databases.py."""
    async with session(everything, name) as client:
        one = await run(client, FULL[name])
        assert one.exit.reason == "exited", one.text[-1000:]
        assert one.exit.code in (1, 3), one.text[-1000:]
        assert one.exit.limits_hit == ("disk",), one.stderr[-1000:]
