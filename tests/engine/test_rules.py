"""The firewall rules of groups: they come and go with the engine's groups, and a failure says why."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from coderunner.engine import firewall
from coderunner.engine.docker import DockerEngine
from coderunner.engine.firewall import Helper, install_host_rules, remove_host_rules
from coderunner.errors import (
    NetworkFailed,
)
from tests.engine.conftest import MakeSpec
from tests.engine.groups import Begin, MakeNetwork

TABLES = """
import socket, struct
plug = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
plug.bind((0, 0))
plug.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 1, 0x301, 1, 0, 0, 0, 0))
said = b""
while struct.pack("=H", 3) != said[4:6]:  # the end of the list
    said = plug.recv(65536)
    print(said.count(b"coderunner_groups"))
"""


async def test_the_rules_go_as_they_came(engine: DockerEngine, make_spec: MakeSpec, begin: Begin) -> None:
    """In a network of its own, so that nobody's groups are without them meanwhile."""
    program = await begin("print('on', flush=True)")
    pid = str((await engine.inspect(program.container)).pid)

    def tables() -> int:
        done = subprocess.run(
            ["nsenter", "-t", pid, "-n", sys.executable, "-c", TABLES],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return sum(int(line) for line in done.stdout.split())

    async def apply(*words: str) -> None:
        spec = make_spec()
        helper = Helper(spec.image, spec.name, spec.labels, 20)
        await firewall.apply_rules(engine, helper, f"container:{program.container}", words)

    assert tables() == 0
    await apply("no-host")  # where there are none
    assert tables() == 0
    for _ in range(2):
        await apply("host", "crg")
        assert tables() == 2  # one of IP, one of ARP
    await apply("no-host")
    assert tables() == 0


async def test_the_rules_stay_while_anybody_has_a_group(
    engine: DockerEngine, make_spec: MakeSpec, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []

    async def run(_engine: Any, _helper: Any, _network: str, words: tuple[str, ...]) -> None:
        ran.append(words)

    monkeypatch.setattr(firewall, "apply_rules", run)
    spec = make_spec()
    helper = Helper(spec.image, spec.name, spec.labels, 20)
    await make_network()
    assert not await remove_host_rules(engine, helper)
    assert ran == []
    looks = [[], ["made meanwhile"], [], []]

    async def look(_labels: Any) -> list[str]:
        return looks.pop(0)

    monkeypatch.setattr(engine.networks, "list", look)
    assert not await remove_host_rules(engine, helper)
    assert ran == [("no-host",), ("host", "crg")]
    assert await remove_host_rules(engine, helper)
    monkeypatch.undo()


async def test_a_door_that_cannot_be_shut_says_why(
    engine: DockerEngine, image: str, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coderunner.engine.firewall._program", lambda: "import sys; sys.exit('no such rule')")
    with pytest.raises(NetworkFailed, match="no such rule"):
        await install_host_rules(engine, Helper(image, f"{labels['coderunner.instance']}-host", labels, 20))
    assert await engine.list(labels) == []
