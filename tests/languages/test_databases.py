"""Databases: a file's tables and errors, a prompt behind it in a terminal, and what the session keeps."""

from __future__ import annotations

import json

import pytest

from coderunner.schema import messages as m
from tests.harness import Channel, Client, Server, docker, session, workspace

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TABLE = "CREATE TABLE fruit (name text);\nINSERT INTO fruit VALUES ('fig'), ('plum');\n"


async def terminal(client: Client, number: int, code: str, **fields: object) -> Channel:
    """A terminal's run of the file main.sql, once its prompt is there."""
    await client.run(number, code, mode="tty", entry="main.sql", cols=100, rows=30, **fields)
    return client.channel(number)


async def typed(client: Client, number: int, text: str) -> None:
    await client.input(number, text.encode())


class TestSqlite:
    PROMPT = "sqlite> "

    async def test_a_prompt_follows_on_the_same_connection(self, everything: Server) -> None:
        async with session(everything, "sqlite") as client:
            code = TABLE + "CREATE TEMPORARY TABLE mine (x);\nSELECT * FROM fruit;\n"
            one = await terminal(client, 1, code)
            await client.until(1, self.PROMPT)
            assert "│ plum │\r\n" in one.text.partition(self.PROMPT)[0]
            await typed(client, 1, "SELECT count(*) AS mine FROM mine;\r")
            await client.until(1, "│ 0    │")
            await typed(client, 1, "SELECT * FROM nowhere;\r")
            await client.until(1, "no such table: nowhere")
            await typed(client, 1, ".quit\r")
            assert (await client.ended(1)).exit.reason == "exited"

    async def test_an_error_in_the_file_leads_to_the_prompt(self, everything: Server) -> None:
        async with session(everything, "sqlite") as client:
            one = await terminal(client, 1, "SELECT *\nFROM nowhere;\n")
            await client.until(1, self.PROMPT)
            assert "near line 1: no such table: nowhere" in one.text
            await typed(client, 1, "\x04")
            assert (await client.ended(1)).exit.code == 0

    async def test_the_database_is_a_file_that_the_session_keeps(self, everything: Server) -> None:
        async with session(everything, "sqlite") as client:
            assert (await client.result(1, TABLE, entry="main.sql")).exit.code == 0
            found = await client.result(2, "SELECT count(*) AS n FROM fruit;", entry="main.sql")
            assert "│ 2 │" in found.text
            again = await client.result(3, TABLE, entry="main.sql")
            assert again.exit.code == 1
            assert b"table fruit already exists" in again.stderr
            files = workspace(everything, client.opened.session, client.opened.token)
            assert files.keys() == {"database.db", "main.sql"}
            assert files["database.db"].startswith(b"SQLite format 3")

    async def test_any_name_and_any_argument(self, everything: Server) -> None:
        async with session(everything, "sqlite") as client:
            arguments = ("it's", 'a "word"', "-3", "")
            code = "SELECT json_array(?1, ?2, ?3, ?4) AS got;"
            one = await client.result(1, code, entry='my "own" file.sql', args=arguments)
            assert one.exit.code == 0, one.text
            assert json.dumps(arguments, separators=(",", ":")) in one.text.replace("\\\\", "\\")


class TestPostgresql:
    PROMPT = "coder=# "

    async def test_a_prompt_follows_on_the_same_connection(self, everything: Server) -> None:
        async with session(everything, "postgresql") as client:
            code = TABLE + "CREATE TEMPORARY TABLE mine (x int);\nSELECT * FROM fruit;\n"
            one = await terminal(client, 1, code)
            await client.until(1, self.PROMPT)
            assert " name \r\n------\r\n fig\r\n plum\r\n(2 rows)\r\n" in one.text
            await typed(client, 1, "SELECT count(*) AS mine FROM mine;\r")
            await client.until(1, "    0\r\n(1 row)")
            await typed(client, 1, "SELECT * FROM nowhere;\r")
            await client.until(1, 'ERROR:  relation "nowhere" does not exist')
            await typed(client, 1, "\\q\r")
            assert (await client.ended(1)).exit.code == 0

    async def test_an_error_in_the_file_ends_the_file_and_leads_to_the_prompt(
        self, everything: Server
    ) -> None:
        async with session(everything, "postgresql") as client:
            one = await terminal(client, 1, "\nSELECT * FROM nowhere;\nSELECT 'never';\n")
            await client.until(1, self.PROMPT)
            assert 'psql:main.sql:2: ERROR:  relation "nowhere" does not exist\r\nLINE 1:' in one.text
            assert "never" not in one.text
            await typed(client, 1, "\x04")
            assert (await client.ended(1)).exit.code == 0

    async def test_without_a_terminal_the_first_error_is_exit_code_3(self, everything: Server) -> None:
        async with session(everything, "postgresql") as client:
            one = await client.result(1, "SELECT 1/0;\nSELECT 'never';", entry="main.sql")
            assert (one.exit.reason, one.exit.code) == ("exited", 3)
            assert one.stderr == b"psql:main.sql:1: ERROR:  division by zero\n"

    async def test_the_shell_reaches_the_same_server(self, everything: Server) -> None:
        async with session(everything, "postgresql") as client:
            assert (await client.result(1, TABLE, entry="main.sql")).exit.code == 0
            await client.send(m.Shell(2, 100, 30))
            await client.until(2, "$ ")
            await typed(client, 2, "psql -At -c 'SELECT count(*) + 40 FROM fruit'\r")
            await client.until(2, "\r42\r\n")
            await typed(client, 2, "createdb another && psql another -Atc 'SELECT 40 + 3'\r")
            await client.until(2, "\r43\r\n")

    async def test_the_server_is_not_part_of_the_workspace_or_of_a_run(self, everything: Server) -> None:
        async with session(everything, "postgresql") as client:
            one = await client.result(1, "SELECT 1;", entry="main.sql")
            assert one.exit.left_behind == 0
            files = workspace(everything, client.opened.session, client.opened.token)
            assert files.keys() == {"main.sql"}
            two = await client.result(2, "\\! ls\n\\! cat /proc/net/tcp | wc -l\n", entry="main.sql")
            assert two.text == "main.sql\n1\n"  # the heading alone: nothing listens

    async def test_one_that_was_killed_comes_back_with_what_was_committed(self, everything: Server) -> None:
        async with session(everything, "postgresql") as client:
            assert (await client.result(1, TABLE, entry="main.sql")).exit.code == 0
            kill = "\\! kill -9 $(head -n 1 /workspace/.service/postgresql/cluster/postmaster.pid)\n"
            assert (await client.result(2, kill, entry="main.sql")).exit is not None
            found = await client.result(3, "SELECT count(*) FROM fruit;", entry="main.sql")
            assert found.exit.code == 0, found.text
            assert "     2\n" in found.text

    async def test_its_limits_leave_room_for_work(self, everything: Server) -> None:
        code = (
            "CREATE TABLE big AS SELECT n, md5(n::text) AS text FROM generate_series(1, 300000) AS n;\n"
            "CREATE INDEX ON big (text);\nSELECT count(DISTINCT text) FROM big;\n"
        )
        async with session(everything, "postgresql") as client:
            one = await client.result(1, code, 60, entry="main.sql")
            assert (one.exit.code, one.exit.limits_hit) == (0, ()), one.text
            assert " 300000\n" in one.text
            label = f"label=coderunner.session={client.opened.session}"
            [container] = docker("ps", "-q", "--filter", label).split()
            used = int(docker("exec", container, "du", "-sm", "/workspace").split()[0])
            assert used < 128, f"{used} MB of the workspace"


class TestMariadb:
    PROMPT = "MariaDB [coder]> "

    async def test_a_full_workspace_is_told(self, everything: Server) -> None:
        rows = "INSERT INTO t VALUES (repeat('x', 8000000));\n" * 20
        async with session(everything, "mariadb") as client:
            text = f"CREATE TABLE t (a LONGBLOB);\n{rows}"
            one = await client.result(1, text, 120, entry="main.sql")
            told = one.exit.reason, one.exit.code, one.exit.limits_hit
            assert told == ("exited", 1, ("disk",)), one.text

    async def test_an_error_ends_the_file_and_leads_to_a_prompt(self, everything: Server) -> None:
        async with session(everything, "mariadb") as client:
            one = await terminal(client, 1, TABLE + "SELECT * FROM nowhere;\nSELECT 'never';\n")
            await client.until(1, self.PROMPT)
            assert "at line 3 in file: 'main.sql': Table 'coder.nowhere' doesn't exist" in one.text
            assert "never" not in one.text
            await typed(client, 1, "SELECT count(*) + 40 FROM fruit;\r")
            await client.until(1, "|            42 |")
            await typed(client, 1, "\\q\r")
            assert (await client.ended(1)).exit.code == 0
