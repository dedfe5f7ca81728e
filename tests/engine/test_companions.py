"""What lives beside the programs, in real containers: ready before a container counts as made."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from coderunner import declarations
from coderunner.config import load
from coderunner.engine.docker import DockerEngine
from coderunner.engine.images import ImageBuilder
from coderunner.errors import StartFailed
from coderunner.fleet.catalog import READY, LanguageCatalog, Readiness
from coderunner.fleet.provision import Identity, Provisioner
from coderunner.fleet.sweep import labels_of
from coderunner.fleet.uids import Uids
from coderunner.fleet.workers import WorkerPool
from coderunner.schema import calls
from coderunner.schema import messages as m
from coderunner.schema.languages import Language, Service
from coderunner.schema.reports import ChannelState, Hello
from coderunner.sessions.container import Container
from coderunner.sessions.specs import run_spec
from tests.harness import ENGINE, eventually

pytestmark = pytest.mark.timeout(900)  # an image may have to be built

ECHO = """
import os, socket, sys
print("I listen", flush=True)
with socket.socket(socket.AF_UNIX) as one:
    one.bind("new.sock"); one.listen(); os.rename("new.sock", "echo.sock")
    while True:
        with one.accept()[0] as peer:
            peer.sendall(f"{os.getpid()} {os.environ['WORD']} {peer.recv(99).decode()}".encode())
"""
ASK = """
import socket
with socket.socket(socket.AF_UNIX) as one:
    one.connect(".service/echo.sock"); one.sendall(b"hello"); print(one.recv(99).decode())
"""
AGAIN = f"""
import time
while True:
    try:
        exec({ASK!r})
        break
    except OSError:
        time.sleep(.01)
"""
SERVICE = Service(("python3", "-c", ECHO), "/workspace/.service/echo.sock", {"WORD": "yes"}, 5000)


class Heard:
    """The tenant of a container: what its agent says."""

    def __init__(self, container: Container) -> None:
        self.output: dict[int, bytes] = {}
        self.states: dict[int, ChannelState] = {}
        container.listen(self)

    def on_attached(self, hello: Hello) -> None:
        self.known = [state.channel for state in hello.channels]

    def begin_reports(self) -> None: ...

    def end_reports(self) -> None: ...

    def on_in_ack(self, channel: int, offset: int) -> None: ...

    def on_output(self, channel: int, stream: int, offset: int, data: bytes) -> None:
        self.output[channel] = self.output.get(channel, b"") + data

    def on_state(self, state: ChannelState) -> None:
        self.states[state.channel] = state

    def have(self) -> dict[int, int]:
        return {}


class Place:
    """Containers of one language, declared for a test."""

    def __init__(self, engine: DockerEngine, provisioner: Provisioner) -> None:
        self.engine = engine
        self.provisioner = provisioner

    @asynccontextmanager
    async def container(self) -> AsyncIterator[tuple[Container, Heard]]:
        container = await self.provisioner.create("bash")
        try:
            yield container, Heard(container)
        finally:
            await self.provisioner.remove(container)

    async def run(self, container: Container, heard: Heard, channel: int, code: str) -> tuple[str, dict]:
        """(output, record of the main program)"""
        language = self.provisioner.catalog.language("bash")
        rules = declarations.load(only=["bash"]).rules
        spec = run_spec(m.Run(channel, "pipe"), language, rules.defaults, rules)
        spec = replace(spec, run=("python3", "-c", code))
        await container.link.call(calls.Run(channel=channel, spec=spec))
        state = await eventually(
            lambda: (one := heard.states.get(channel)) and one.end is not None and one, 20, "its end"
        )
        return heard.output.get(channel, b"").decode(), state.evidence["main"]


@asynccontextmanager
async def place(declare: Callable[[Language], Language]) -> AsyncIterator[Place]:
    settings, declared = load({}), declarations.load(only=["bash"])
    base, count = settings.session_uid_base, settings.session_uid_count
    builder = ImageBuilder(ENGINE, declared.folder, range(base, base + count))
    image = await builder.ensure("bash", lambda _line: None)
    languages = {"bash": declare(declared.languages["bash"])}
    catalog = LanguageCatalog(languages, declared.rules.defaults)
    catalog.set_state("bash", Readiness(READY, "", image))
    identity = Identity(f"test-{secrets.token_hex(4)}", "o", "coderunner", None, 60_000, 30.0)
    async with DockerEngine.connect(ENGINE, 10.0) as engine, WorkerPool(2) as pool:
        yield Place(engine, Provisioner(engine, pool, catalog, Uids(base + count - 4, 4), identity))
        assert await engine.list(labels_of(identity.instance)) == []


async def test_a_service_is_there_before_the_user_and_stays():
    async with (
        place(lambda language: replace(language, service=SERVICE)) as here,
        here.container() as (container, heard),
    ):
        text, main = await here.run(container, heard, 1, ASK)
        pid, word, said = text.split()
        assert (word, said) == ("yes", "hello")
        assert (main["code"], main["left_behind"]) == (0, 0)
        # The next program finds the same one; a program that kills it finds its successor.
        assert (await here.run(container, heard, 2, ASK))[0].split()[0] == pid
        text, _ = await here.run(container, heard, 3, f"import os\nos.kill({pid}, 9)\n" + AGAIN)
        assert text.split()[0] != pid
        log = "print(open('/workspace/.service/log').read().split('\\n').count('I listen'))"
        assert (await here.run(container, heard, 4, log))[0] == "2\n"
        listing, _ = await container.link.call(calls.List(limit=100))
        assert listing["files"] == []


async def test_one_that_does_not_become_ready_is_a_container_less_and_says_why():
    service = replace(SERVICE, command=("sh", "-c", "echo no room; sleep 100"), start_ms=500)
    async with place(lambda language: replace(language, service=service)) as here:
        with pytest.raises(StartFailed, match="no room"):
            await here.provisioner.create("bash")


async def test_an_agent_that_is_asked_twice_starts_one():
    async with (
        place(lambda language: replace(language, service=SERVICE)) as here,
        here.container() as (container, heard),
    ):
        first, _ = await here.run(container, heard, 1, ASK)
        # As after a restart of the server: another attach, and it may be asked again.
        await container.link.close()
        await eventually(lambda: not container.link.closed.done(), 10, "attached again")
        spec = calls.ServiceSpec(command=("false",), env={}, folder="/workspace", ready="/none", start_ms=100)
        await container.link.call(calls.Prepare(service=spec))
        assert (await here.run(container, heard, 2, ASK))[0] == first
        assert heard.known == [1]
