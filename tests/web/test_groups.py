"""Groups from their users' view: sessions that reach each other, and nothing else."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from coderunner.schema import messages as m
from tests.harness import (
    ROOT,
    Server,
    attach,
    connect,
    docker,
    eventually,
    running_server,
    session,
    wait_ready,
)
from tests.listeners import REACH, addresses, listening
from tests.web.test_restart import again, coderunner

LABEL = ("--filter", "label=type=coderunner")

PYTHON_SERVER = """
import socket
server = socket.create_server(("", 5000))
print("listening", flush=True)
while True:
    plug, peer = server.accept()
    with plug: plug.sendall(b"hello " + plug.recv(100))
"""
PYTHON_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 5000), 10) as plug:
    plug.sendall(b"from python")
    print("answer:", plug.recv(100).decode())
"""
C_CLIENT = r"""
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(argv[1], "5000", &hints, &found);
    if (failed) { printf("%s\n", gai_strerror(failed)); return 1; }
    int plug = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(plug, found->ai_addr, found->ai_addrlen)) { perror("connect"); return 1; }
    char answer[100];
    write(plug, "from C", 6);
    ssize_t got = read(plug, answer, sizeof answer);
    printf("answer: %.*s\n", (int)got, answer);
}
"""


@pytest.fixture(scope="module")
def whole_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("groups")
    with running_server(
        folder, ready=("python", "c"), LANGUAGES="python,c", WARM_MAX="2", MAX_GROUPS="2", GROUP_MEMBERS="3"
    ) as server:
        yield server


@pytest.fixture
async def grouped(whole_server: Server) -> AsyncIterator[Server]:
    """A server that is empty again for the next test."""
    yield whole_server
    await eventually(lambda: whole_server.stats()["queue"]["active"] == 0, 15, "all slots given back")
    await gone(whole_server)


def place(opened: m.Opened) -> dict[str, str]:
    """What another session needs to join it."""
    return {"network": "group", "group": opened.group, "group_token": opened.group_token}


async def refused(server: Server, code: str, **wish: str) -> tuple[str, int | None]:
    """Returns (message, close code) of an `open` that must fail."""
    async with connect(server.url) as one:
        await one.send(m.Open("python", one.client, **wish))
        error = await one.error(code)
        return error.message, await one.closed() if error.code != "member_taken" else None


async def gone(server: Server, seconds: float = 15) -> None:
    await eventually(lambda: not server.networks(), seconds, "the network removed")


class TestTalk:
    async def test_a_server_in_one_and_a_client_in_another(self, grouped):
        async with session(grouped, network="group", member="alice") as alice:
            opened = alice.opened
            assert (opened.member, opened.isolation.network) == ("alice", "group")
            assert opened.group
            assert len(opened.group_token) >= 22
            await alice.run(1, PYTHON_SERVER)
            await alice.until(1, "listening")
            async with session(grouped, **place(opened)) as bob:
                assert (bob.opened.member, bob.opened.group) == ("python-1", opened.group)
                channel = await bob.result(1, PYTHON_CLIENT, args=("alice",))
                assert channel.text == "answer: hello from python\n"
                async with session(grouped, "c", **place(opened)) as carol:
                    assert carol.opened.member == "c-1"
                    channel = await carol.result(1, C_CLIENT, entry="main.c", args=("alice",))
                    assert channel.text == "answer: hello from C\n"
                    await bob.run(2, PYTHON_SERVER, entry="two.py")
                    await bob.until(2, "listening")
                    channel = await alice.result(2, PYTHON_CLIENT, entry="two.py", args=("python-1",))
                    assert channel.text == "answer: hello from python\n"
            said = docker("network", "ls", "--format", "{{.Name}}", *LABEL).split()
            assert f"coderunner-{opened.group}" in said
        await gone(grouped)

    async def test_a_member_that_left_is_a_name_no_more(self, grouped):
        async with session(grouped, network="group") as alice:
            async with session(grouped, member="bob", **place(alice.opened)) as bob:
                assert bob.opened.member == "bob"
            await eventually(lambda: grouped.stats()["queue"]["active"] == 1, 10, "bob's end")
            channel = await alice.result(1, PYTHON_CLIENT, args=("bob",))
            assert "gaierror" in channel.text
            async with session(grouped, member="bob", **place(alice.opened)) as again_bob:
                assert again_bob.opened.member == "bob"


@pytest.mark.long
class TestDoor:
    async def test_what_is_wrong_is_answered_alike(self, grouped):
        async with session(grouped, network="group") as alice:
            good = place(alice.opened)
            async with session(grouped, network="group") as other:
                ended = place(other.opened)
            await eventually(lambda: len(grouped.networks()) == 1, 15, "the other's end")
            answers = {
                await refused(grouped, "no_group", **{**good, "group_token": "x" * 32}),
                await refused(grouped, "no_group", **{**good, "group_token": ended["group_token"]}),
                await refused(grouped, "no_group", **{**good, "group": f"{grouped.instance}-{'0' * 16}"}),
                await refused(grouped, "no_group", **ended),
            }
            [(words, code)] = answers
            assert code == 4404
            assert words

    @pytest.mark.parametrize(
        "wish",
        [
            {"network": "group", "group": "g"},
            {"network": "group", "group_token": "t"},
            {"group": "g", "group_token": "t"},
            {"member": "alice"},
        ],
    )
    async def test_half_a_wish_is_a_bad_message(self, grouped, wish):
        async with connect(grouped.url) as one:
            await one.send(m.Open("python", one.client, **wish))
            await one.error("bad_message")
            assert one.opened is None

    async def test_a_name_is_had_once(self, grouped):
        async with session(grouped, network="group", member="alice") as alice:
            for name in ("alice", "localhost", "coderunner"):
                words, _ = await refused(grouped, "member_taken", member=name, **place(alice.opened))
                assert name in words

    async def test_groups_and_members_have_their_number(self, grouped):
        async with (
            session(grouped, network="group") as one,
            session(grouped, network="group") as other,
            session(grouped, **place(one.opened)) as second,
            session(grouped, **place(one.opened)) as third,
        ):
            names = [each.opened.member for each in (one, second, third)]
            assert names == ["python-1", "python-2", "python-3"]
            assert other.opened.group != one.opened.group
            assert (await refused(grouped, "group_full", **place(one.opened)))[1] == 4503
            assert (await refused(grouped, "too_many_groups", network="group"))[1] == 4503
        await gone(grouped)
        async with session(grouped, network="group") as one:
            assert one.opened.member == "python-1"

    async def test_a_server_without_groups_says_so(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python", WARM_MAX="0", MAX_GROUPS="0") as server:
            async with connect(server.url) as one:
                assert "groups" not in (await one.message(m.Hello)).features
                await one.send(m.Open("python", one.client, network="group"))
                await one.error("unsupported")

    async def test_nobody_else_is_reached(self, grouped):
        """Scans from a session: neither services of the host nor another group receive anything."""
        async with session(grouped, network="group") as alice, session(grouped, network="group") as mallory:
            await alice.run(1, PYTHON_SERVER)
            await alice.until(1, "listening")
            channel = await alice.result(2, OWN, entry="own.py")
            own = channel.text.strip()
            with listening() as host:
                tried = ["255.255.255.255", "224.0.0.1", "169.254.169.254", "ff02::1", *addresses()]
                channel = await mallory.result(1, REACH, 60, args=(str(host.port), *tried))
                assert "connected 0 end" in channel.text
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
                    plug.sendto(b"proof", ("127.0.0.1", host.port))
                proof = ("0.0.0.0: proof", "127.0.0.1")
                await eventually(lambda: proof in host.heard, 10, "the services are there")
                assert host.heard == [proof]
            channel = await mallory.result(2, REACH, 60, entry="b.py", args=("5000", own))
            assert "connected 0 end" in channel.text


OWN = """
import socket
print(socket.gethostbyname("python-1"))
"""


SPRAY = """
import socket, sys
plug = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
where = socket.gethostbyname(sys.argv[1])
for port in range(1, 20001):
    try: plug.sendto(b"x", (where, port))
    except ConnectionRefusedError: plug.sendto(b"x", (where, port))
print("sent")
"""


async def test_members_do_not_fill_the_hosts_table_of_connections(grouped):
    """20,000 pairs of ports would be as many entries."""
    count = Path("/proc/sys/net/netfilter/nf_conntrack_count")
    async with (
        session(grouped, network="group") as alice,
        session(grouped, member="bob", **place(alice.opened)),
    ):
        before = int(count.read_text())
        channel = await alice.result(1, SPRAY, args=("bob",))
        assert channel.text == "sent\n"
        assert int(count.read_text()) - before < 5000


@pytest.mark.long
class TestLifetime:
    async def test_a_group_outlives_the_server(self, tmp_path):
        settings = {"LANGUAGES": "python", "WARM_MAX": "1"}
        with running_server(tmp_path, **settings) as server:
            async with session(server, network="group", member="alice", keep=True) as alice:
                await alice.run(1, PYTHON_SERVER)
                await alice.until(1, "listening")
                server.stop(signal.SIGKILL)
                await alice.closed()
            assert len(server.networks()) == 1
            server.process = again(server, tmp_path).process
            await asyncio.to_thread(wait_ready, server, ("python",))
            async with session(server, member="bob", **place(alice.opened)) as bob:
                channel = await bob.result(1, PYTHON_CLIENT, args=("alice",))
                assert channel.text == "answer: hello from python\n"
                await refused(server, "member_taken", member="alice", **place(alice.opened))
            assert len(server.networks()) == 1
            async with attach(server, alice.opened, client=alice.client, channels=alice.channels) as back:
                await back.send(m.Close())
                assert await back.closed() == 1000
            await gone(server)

    async def test_what_lost_its_members_while_no_server_lived_is_removed(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python", WARM_MAX="0") as server:
            async with session(server, network="group", keep=True) as alice:
                server.stop(signal.SIGKILL)
                await alice.closed()
            docker("rm", "-fv", f"coderunner-{alice.opened.session}")
            stranger = docker(
                "network", "create", "--internal", "--label", "type=coderunner", "--label",
                f"coderunner.instance=another-{server.instance}", f"another-{server.instance}",
            ).strip()  # fmt: skip
            try:
                server.process = again(server, tmp_path).process
                await gone(server)
                assert stranger in docker("network", "ls", "-q", "--no-trunc", *LABEL)
            finally:
                docker("network", "rm", stranger)

    async def test_the_reaper_leaves_what_is_in_use_or_new_or_another_s(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python", WARM_MAX="0") as server:
            async with session(server, network="group"):
                before = server.networks()
                assert "0 networks removed" in _reap(server)
                assert server.networks() == before

    async def test_all_of_a_stopped_server_is_ended_by_a_command(self, tmp_path):
        with running_server(tmp_path, LANGUAGES="python", WARM_MAX="1") as server:
            async with session(server, network="group", keep=True) as alice:
                done = coderunner(server, "reap", "--all")
                assert done.returncode == 75, done.stdout
                assert "stop it first" in done.stdout
                server.stop(signal.SIGTERM)
                await alice.closed()
            assert server.networks()
            done = coderunner(server, "reap", "--all")
            assert done.returncode == 0, done.stdout
            assert (server.containers(), server.networks(), server.notes()) == ([], [], [])
            assert f"session={alice.opened.session}" in done.stdout
            assert "1 networks removed" in done.stdout

    async def test_a_container_that_is_gone_leaves_its_group(self, grouped):
        async with session(grouped, network="group", keep=True) as alice:
            docker("rm", "-fv", f"coderunner-{alice.opened.session}")
            assert (await alice.message(m.Closed)).reason == "engine_lost"
        await gone(grouped)


def _reap(server: Server) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coderunner", "--env-file", "/dev/null", "reap"],
        env={"PYTHONPATH": str(ROOT / "server"), "PATH": "/usr/bin:/bin", "INSTANCE_NAME": server.instance},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def _interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith("crg")}


JAVA_SERVER = """
import java.net.*;
public class Main {
    public static void main(String[] args) throws Exception {
        try (var server = new ServerSocket(5000)) {
            System.out.println("listening");
            while (true) {
                try (var plug = server.accept()) {
                    var got = new byte[100];
                    int count = plug.getInputStream().read(got);
                    plug.getOutputStream().write(("hello " + new String(got, 0, count)).getBytes());
                }
            }
        }
    }
}
"""
JAVA_CLIENT = """
import java.net.*;
public class Main {
    public static void main(String[] args) throws Exception {
        try (var plug = new Socket(args[0], 5000)) {
            plug.getOutputStream().write("from Java".getBytes());
            System.out.println("answer: " + new String(plug.getInputStream().readAllBytes()));
        }
    }
}
"""


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_java_and_python_and_programs_forked_from_a_preload(tmp_path):
    languages = ("python", "java", "python-science")
    with running_server(tmp_path, ready=languages, LANGUAGES=",".join(languages), WARM_MAX="3") as server:
        async with (
            session(server, "java", network="group") as coffee,
            session(server, **place(coffee.opened)) as snake,
            session(server, "python-science", **place(coffee.opened)) as science,
        ):
            assert coffee.opened.member == "java-1"
            assert science.opened.member == "python-science-1"
            await coffee.run(1, JAVA_SERVER, entry="Main.java")
            await coffee.until(1, "listening", 30)
            await snake.run(1, PYTHON_SERVER)
            await snake.until(1, "listening")
            channel = await snake.result(2, PYTHON_CLIENT, entry="two.py", args=("java-1",))
            assert channel.text == "answer: hello from python\n"
            channel = await science.result(1, PYTHON_CLIENT, args=("java-1",))
            assert channel.text == "answer: hello from python\n"
            channel = await coffee.result(2, JAVA_CLIENT, entry="Main.java", args=("python-1",))
            assert channel.text == "answer: hello from Java\n"
            await coffee.send(m.Kill(1))
            await coffee.ended(1)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_two_hundred_one_after_another_leave_nothing(grouped):
    before = _interfaces()
    groups = set()
    for _ in range(200):
        async with session(grouped, network="group") as one:
            groups.add(one.opened.group)
        await eventually(lambda: grouped.stats()["queue"]["active"] == 0, 15, "the slot given back")
    assert len(groups) == 200
    assert grouped.networks() == []
    assert _interfaces() <= before
